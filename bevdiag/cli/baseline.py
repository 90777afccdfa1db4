"""`bevdiag baseline`: record what configs cost today, to notice when they grow."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.output import STDOUT, check_output, layout_for, say, write_output
from bevdiag.cli.preflight import run_jobs
from bevdiag.cli.wanted import inspect_options
from bevdiag.diagnose.result import InspectReport
from bevdiag.errors import ExitCode

baseline_app = typer.Typer(
    rich_markup_mode=None, help="Record what configs cost, for preflight --baseline."
)

_File = Annotated[str, typer.Argument(metavar="FILE", help="The record.")]


@baseline_app.command("write")
def write_command(
    file: _File,
    configs: opt.Configs,
    points: opt.Points = None,
    point_columns: opt.PointColumns = None,
    point_dtype: opt.PointDtype = None,
    batch_size: opt.BatchSize = None,
    autocast: opt.Autocast = None,
    optimizer: opt.Optimizer = None,
    torch: opt.TorchVersion = None,
    cudnn: opt.PolicyCudnn = None,
    source: opt.Source = None,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    timeout: opt.Timeout = None,
    policy: opt.PolicyFile = None,
    isolated: opt.Isolated = False,
) -> int:
    """Record configs in FILE; others that FILE has stay."""
    from bevdiag.cli.jobs import Given, make_jobs
    from bevdiag.diagnose.baseline import record
    from bevdiag.diagnose.checked import worst
    from bevdiag.diagnose.recorded import Baseline, read_baseline

    check_output(file, "FILE")
    given = Given(
        torch=torch,
        cudnn=cudnn,
        autocast=autocast,
        optimizer=optimizer,
        batch_size=batch_size,
    )
    base = inspect_options(
        points=points,
        point_columns=point_columns,
        point_dtype=point_dtype,
        assume=assume,
        seed=seed,
        source=source,
        timeout=timeout,
    )
    path = Path(file)
    before = read_baseline(path).configs if path.exists() else {}
    checks = run_jobs(make_jobs(configs, given, base, policy, isolated=isolated))
    write_output(Baseline(configs={**before, **record(checks, path).configs}).text(), file, "FILE")
    untraced = [check for check in checks if not isinstance(check.report, InspectReport)]
    for check in untraced:
        say(f"{check.config}: not recorded: {check.failure or 'no step survives its errors'}")
    return worst(check.exit_code for check in untraced)


@baseline_app.command("show")
def show_command(file: _File) -> int:
    """Print what FILE has recorded."""
    from bevdiag.diagnose.recorded import read_baseline
    from bevdiag.report.text.preflight_report import render_baseline

    write_output(render_baseline(read_baseline(Path(file)), layout_for(STDOUT)), STDOUT)
    return ExitCode.FITS
