"""What bevdiag knows (`gpus`, `rule`, `schema`), and `init`: a project's policy to fill in."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.output import STDOUT, Output, check_output, say, write_output
from bevdiag.errors import ExitCode, InputError
from bevdiag.prediction import values


def gpus_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One of them, with the sources of its figures."),
    ] = None,
) -> int:
    """List the GPUs that --gpu knows, or tell the sources of one."""
    from bevdiag.memory.catalogue import all_gpus, find_gpu
    from bevdiag.report.text.gpu_catalogue import write_catalogue, write_gpu

    if name is None:
        Output().write(all_gpus(), write_catalogue)
    else:
        Output().write(find_gpu(name), write_gpu)
    return ExitCode.FITS


def rule_command(
    code: Annotated[
        str | None,
        typer.Argument(metavar="CODE", help="A code such as BEV203, or a rule's name."),
    ] = None,
) -> int:
    """Explain the finding CODE; without it, list all rules."""
    from bevdiag.report.rule_pages import write_rule, write_rules
    from bevdiag.rules.codes import CODES
    from bevdiag.rules.pages import find_code, rule_page

    if code is None:
        Output().write(tuple(rule_page(known) for known in CODES), write_rules)
    else:
        Output().write(rule_page(find_code(code).code), write_rule)
    return ExitCode.FITS


def schema_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A document's name, e.g. inspect/2 or inspect."),
    ] = None,
) -> int:
    """Print the JSON Schema of the document NAME, or list them all."""
    if name is None:
        write_output("".join(f"{known}\n" for known in schemas()), STDOUT)
    else:
        write_output(schema_text(name), STDOUT)
    return ExitCode.FITS


def schemas() -> dict[str, Any]:
    """Every document that a command writes or reads, and what describes it, None for a report's."""
    from bevdiag.memory.profiles import ProfileFile
    from bevdiag.policy import POLICY_SCHEMA, policy_schema
    from bevdiag.report.json_schema import SCHEMAS
    from bevdiag.scenes.statistics import SCENE_SCHEMA, SceneStatistics

    return {
        **dict.fromkeys(SCHEMAS),
        "profile/1": ProfileFile,
        SCENE_SCHEMA: SceneStatistics,
        POLICY_SCHEMA: policy_schema(),
    }


def schema_text(name: str) -> str:
    """Return the schema of a document, also by its full name or without its version.

    Raises:
        InputError: there is no such document.
    """
    from bevdiag.report.json_schema import json_schema

    known = schemas()
    short = name.removeprefix("bevdiag.")
    latest = {each.partition("/")[0]: each for each in known}
    chosen = values.choose("schema", latest.get(short, short), tuple(known))
    return json_schema(chosen, known[chosen])


def init_command(
    gpu: opt.GpuName = None,
    output: opt.OutputFile = "bevdiag.toml",
) -> int:
    """Write a commented bevdiag.toml, the project's policy."""
    from bevdiag.policy import policy_toml

    if output != STDOUT and Path(output).exists():
        raise InputError(f"{output} is there already: bevdiag init -o - prints what it would be")
    check_output(output)
    named = None if gpu is None else values.gpu_name("--gpu", gpu)
    write_output(policy_toml(named), output)
    if output != STDOUT:
        say(f"{output} is written: bevdiag preflight CONFIG... judges by it")
    return ExitCode.FITS
