"""`bevdiag baseline`: record what configs cost today, to notice when they grow."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.asked import REST, STEP, TARGET, OptionTexts, takes
from bevdiag.cli.output import Output, say
from bevdiag.cli.preflight import run_jobs
from bevdiag.errors import ExitCode
from bevdiag.files.writing import declare_output, locked, write_file

baseline_app = typer.Typer(
    rich_markup_mode=None, help="Record what configs cost, for preflight --baseline."
)

_File = Annotated[str, typer.Argument(metavar="FILE", help="The record.")]


@baseline_app.command("write")
@takes(*STEP, *TARGET, *REST)
def write_command(
    asked: OptionTexts,
    file: _File,
    configs: opt.ConfigsOrEntry = None,
) -> int:
    """Record configs in FILE; others that FILE has stay."""
    from bevdiag.config.found import config_files
    from bevdiag.prediction.baseline import Baseline, read_baseline, record
    from bevdiag.prediction.checked import worst
    from bevdiag.prediction.result import Prediction

    path = Path(file)
    declare_output(path, "FILE", updated=True)
    if path.exists():
        read_baseline(path)  # a file that is none is refused before the work
    checks = run_jobs(asked.jobs(config_files(configs or [])))
    with locked(path):
        before = read_baseline(path).configs if path.exists() else {}
        merged = Baseline(configs={**before, **record(checks, path).configs})
        write_file(path, merged.text().encode(), "FILE", updated=True)
    untraced = [check for check in checks if not isinstance(check.report, Prediction)]
    for check in untraced:
        say(f"{check.config}: not recorded: {check.failure or 'its errors stop every step'}")
    return worst(check.exit_code for check in untraced)


@baseline_app.command("show")
def show_command(file: _File) -> int:
    """Print what FILE has recorded."""
    from bevdiag.prediction.baseline import read_baseline
    from bevdiag.report.text.checks_report import write_baseline

    Output().write(read_baseline(Path(file)), write_baseline)
    return ExitCode.FITS
