"""`bevdiag fix`: the cheapest changes with which a config's training step fits."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.output import STDOUT, check_output, layout_for, say, write_output
from bevdiag.cli.progress import progress_bar
from bevdiag.diagnose.remedies.results import FixReport
from bevdiag.diagnose.result import InspectOptions
from bevdiag.errors import InputError

Diff = Annotated[
    bool, typer.Option("--diff", help="Print the edits as a unified diff, and nothing else.")
]
Write = Annotated[
    bool,
    typer.Option("--write", help="Write the edits into CONFIG and inspect it again."),
]
Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe",
        help="Let changes take part that throw input away, or move the grid of the predictions.",
    ),
]


def fix_command(
    config: opt.Config,
    gpu: opt.GpuName = None,
    budget: opt.Budget = None,
    diff: Diff = False,
    write: Write = False,
    unsafe: Unsafe = False,
    points: opt.Points = None,
    batch_size: opt.BatchSize = None,
    autocast: opt.Autocast = None,
    optimizer: opt.Optimizer = None,
    cudnn: opt.Cudnn = None,
    sets: opt.Overrides = None,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Find the cheapest changes to CONFIG with which its training step fits."""
    values.choose("--format", output_format, values.FORMATS)
    check_output(output)
    if diff and (write or output_format != "text"):
        raise InputError("--diff prints the edits and nothing else: leave out --write and --format")
    wanted = InspectOptions(
        device="meta",
        points=tuple(points or ()),
        batch_size=values.optional_number("--batch-size", batch_size, least=1),
        autocast=values.optional_choice("--autocast", autocast, values.AUTOCASTS),
        optimizer=values.optional_choice("--optimizer", optimizer, values.optimizers),
        gpu=values.gpu_name(gpu),
        budget_bytes=values.budget_bytes(budget),
        cudnn=cudnn,
        overrides=values.overrides(sets),
        pins=values.pins(assume),
        seed=values.whole_number("--seed", seed, least=0),
        remedies=False,
    )
    report = _fix(config, wanted, unsafe=unsafe, write=write)
    if diff:
        _say_outcome(report)
        write_output(report.diff, output)
    else:
        write_output(_rendered(report, output_format, output), output)
    return report.exit_code


def _fix(config: Path, wanted: InspectOptions, *, unsafe: bool, write: bool) -> FixReport:
    with progress_bar() as progress:
        progress("importing torch", 0.0)
        from bevdiag.diagnose.fix import FixOptions, fix

        return fix(config, wanted, FixOptions(unsafe=unsafe, write=write), progress)


def _say_outcome(report: FixReport) -> None:
    from bevdiag.report.text.fix_report import outcome

    say(outcome(report))
    sys.stderr.flush()


def _rendered(report: FixReport, output_format: str, output: str) -> str:
    if output_format == "json":
        from bevdiag.report.fix_json import fix_json

        return fix_json(report)
    from bevdiag.report.text.fix_report import render_fix

    return render_fix(report, layout_for(output))
