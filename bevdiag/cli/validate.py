"""`bevdiag validate`: predictions held against measured rows."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.output import STDOUT, check_output, write_output
from bevdiag.cli.progress import progress_bar
from bevdiag.errors import ExitCode, InputError

FORMATS = ("text", "markdown", "json")


def validate_command(
    rows: Annotated[
        list[Path],
        typer.Option(
            "--rows",
            help="A JSON file of measured rows; repeatable. Runs the script scenes.py beside it, "
            "which makes the rows' point clouds.",
        ),
    ],
    configs: Annotated[
        Path | None, typer.Option("--configs", help="The folder of the configs that rows name.")
    ] = None,
    source: opt.Source = None,
    profile: opt.Profile = None,
    output_format: Annotated[
        str, typer.Option("--format", help="text, markdown or json.")
    ] = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Predict measured training steps and say how far off each prediction is."""
    values.choose("--format", output_format, FORMATS)
    check_output(output)
    for file in rows:
        if not file.is_file():
            raise InputError(f"--rows {file}: there is no such file")
    from bevdiag.diagnose.validation.outcome import MeasuredOn
    from bevdiag.diagnose.validation.run import validate
    from bevdiag.report import validation as report

    with progress_bar() as progress:
        folder = values.source_folder(source)
        validation = validate(
            rows, configs, MeasuredOn(profile=profile), progress, Path(folder) if folder else None
        )
    render = {
        "text": report.render_validation,
        "markdown": report.validation_markdown,
        "json": report.validation_json,
    }[output_format]
    write_output(render(validation), output)
    return ExitCode.FITS if validation.predicted else ExitCode.NO_VERDICT
