"""`bevdiag schema`: the JSON Schema of what a command writes, and of the policy that it reads."""

from typing import Annotated

import typer

from bevdiag.cli.output import STDOUT, write_output
from bevdiag.prediction import values

PROFILE = "profile/1"


def schema_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A document's name, e.g. inspect/2 or inspect."),
    ] = None,
) -> int:
    """Print the JSON Schema of the document NAME, or list them all."""
    if name is None:
        write_output("".join(f"{known}\n" for known in schema_names()), STDOUT)
    else:
        write_output(schema_text(name), STDOUT)
    return 0


def schema_names() -> tuple[str, ...]:
    """Every document that a command writes or reads, with its version."""
    from bevdiag.policy.keys import POLICY_SCHEMA
    from bevdiag.report.json_schema import SCHEMAS
    from bevdiag.scenes.statistics import SCENE_SCHEMA

    return (*SCHEMAS, PROFILE, SCENE_SCHEMA, POLICY_SCHEMA)


def schema_text(name: str) -> str:
    """Return the schema of a document, also by its full name or without its version.

    Raises:
        InputError: there is no such document.
    """
    from bevdiag.memory.profiles import ProfileFile
    from bevdiag.policy.keys import POLICY_SCHEMA, policy_schema
    from bevdiag.report.json_schema import json_schema, with_head
    from bevdiag.scenes.statistics import SCENE_SCHEMA, SceneStatistics

    names = schema_names()
    short = name.removeprefix("bevdiag.")
    latest = {known.partition("/")[0]: known for known in names}
    chosen = values.choose("schema", latest.get(short, short), names)
    if chosen == POLICY_SCHEMA:
        return with_head(chosen, policy_schema())
    return json_schema(chosen, {PROFILE: ProfileFile, SCENE_SCHEMA: SceneStatistics}.get(chosen))
