"""`bevdiag validate`: predictions held against measured rows."""

from pathlib import Path
from typing import Annotated

from bevdiag.cli import options as opt
from bevdiag.cli.asked import reports
from bevdiag.cli.output import Output, write_output
from bevdiag.cli.progress import progress_bar
from bevdiag.errors import InputError
from bevdiag.prediction import values


@reports(("text", "markdown", "json"))
def validate_command(
    output: Output,
    rows: Annotated[list[Path] | None, opt.option("--rows FILE")] = None,
    configs: Annotated[Path | None, opt.option("--configs DIR")] = None,
    source: opt.Source = None,
    replaced: Annotated[list[str] | None, opt.option("--replaced PACKAGE=BY")] = None,
    profile: opt.Profile = None,
) -> int:
    """Predict measured training steps and tell how far off that is.

    The exit code is 1 where the rows of a stack and loop break a promise of docs/accuracy.md, 3
    where no row is predicted.
    """
    files = rows or []
    for file in files:
        if not file.is_file():
            raise InputError(f"--rows {file}: there is no such file")
    if replaced and not files:
        raise InputError(
            "--replaced: is of --rows; the rows that come with bevdiag say it themselves"
        )
    folder = values.optional(values.source_folder, "--source", source)
    from bevdiag.accuracy.outcome import MeasuredOn
    from bevdiag.accuracy.rows import replacements
    from bevdiag.accuracy.validate import validate
    from bevdiag.report import validation as report

    with progress_bar() as progress:
        validation = validate(
            files,
            configs,
            MeasuredOn(profile=profile),
            progress,
            Path(folder) if folder else None,
            replacements(dict(text.partition("=")[::2] for text in replaced or [])),
        )
    if output.format == "markdown":
        write_output(report.validation_markdown(validation), output.file)
    else:
        output.write(validation, report.write_validation)
    return validation.exit_code
