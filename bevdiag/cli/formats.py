"""The formats of checked configs, each with its renderer, imported when it is asked for."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from bevdiag.cli.output import STDOUT, check_output, layout_for, write_output
from bevdiag.errors import InputError
from bevdiag.prediction.values import choose

if TYPE_CHECKING:
    from bevdiag.prediction.checked import Check
    from bevdiag.report.layout import Layout

_RENDERERS = {
    "json": "bevdiag.report.as_json:as_json",
    "sarif": "bevdiag.report.sarif:sarif",
    "junit": "bevdiag.report.junit:junit",
    "github": "bevdiag.report.github:github",
    "markdown": "bevdiag.report.markdown:markdown",
}
"""By format, the module and its function."""

MACHINE_FORMATS = tuple(_RENDERERS)
CHECK_FORMATS = ("text", *MACHINE_FORMATS)
MEMORY_VIZ = "memory-viz"
INSPECT_FORMATS = (*CHECK_FORMATS, MEMORY_VIZ)


def render_checks(
    checks: "Sequence[Check]",
    output_format: str,
    output: str,
    as_text: "Callable[[Sequence[Check], Layout], str]",
) -> str:
    """Render the checks in one of `CHECK_FORMATS`; `as_text` renders the command's own text."""
    if output_format == "text":
        return as_text(checks, layout_for(output))
    return renderer(output_format)(checks)


def write_also(checks: "Sequence[Check]", beside: Sequence[tuple[str, str]]) -> None:
    """Write the checks in further formats, each to its file."""
    for output_format, file in beside:
        write_checks(renderer(output_format)(checks), output_format, file, option="--also")


def write_checks(text: str, output_format: str, output: str, option: str = "-o") -> None:
    """Write checks that have been rendered; of GitHub's format, lines are meant as commands."""
    write_output(text, output, option, exact=output_format == "github")


def renderer(output_format: str) -> "Callable[[Sequence[Check]], str]":
    """Return what writes checks in one of the formats for machines."""
    module, function = _RENDERERS[output_format].split(":")
    render: Callable[[Sequence[Check]], str] = getattr(import_module(module), function)
    return render


def formats_and_files(texts: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Split the --also values into formats and files, each of which can be written.

    Raises:
        InputError: one is not FORMAT=FILE, or names a format or a file that cannot be.
    """
    pairs = []
    for text in texts or ():
        output_format, _, file = text.partition("=")
        if not file or file == STDOUT:
            raise InputError(f"--also: {text!r} is not of the form FORMAT=FILE")
        check_output(file, "--also")
        pairs.append((choose("--also", output_format, MACHINE_FORMATS), file))
    return tuple(pairs)
