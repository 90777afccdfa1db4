"""`bevdiag fit`: the largest batch, voxel cap or points a voxel that fits."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.output import STDOUT, check_output, layout_for, write_output
from bevdiag.cli.progress import progress_bar
from bevdiag.diagnose.remedies.fit_results import KNOBS, FitReport
from bevdiag.diagnose.result import InspectOptions

Knob = Annotated[
    str, typer.Option("--what", metavar="|".join(KNOBS), help="What is made as large as it goes.")
]


def fit_command(
    config: opt.Config,
    what: Knob = "batch",
    gpu: opt.GpuName = None,
    budget: opt.Budget = None,
    points: opt.Points = None,
    batch_size: opt.BatchSize = None,
    autocast: opt.Autocast = None,
    optimizer: opt.Optimizer = None,
    cudnn: opt.Cudnn = None,
    compression: opt.Compression = None,
    sets: opt.Overrides = None,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Find the largest batch, voxel cap or points a voxel with which CONFIG fits."""
    values.choose("--format", output_format, values.FORMATS)
    values.choose("--what", what, tuple(KNOBS))
    check_output(output)
    wanted = InspectOptions(
        device="meta",
        points=tuple(points or ()),
        batch_size=values.optional_number("--batch-size", batch_size, least=1),
        autocast=values.optional_choice("--autocast", autocast, values.AUTOCASTS),
        optimizer=values.optional_choice("--optimizer", optimizer, values.optimizers),
        gpu=values.gpu_name(gpu),
        budget_bytes=values.budget_bytes(budget),
        cudnn=cudnn,
        compression=values.optional_choice("--compression", compression, values.compressions),
        overrides=values.overrides(sets),
        pins=values.pins(assume),
        seed=values.whole_number("--seed", seed, least=0),
        remedies=False,
    )
    report = _fit(config, wanted, what)
    write_output(_rendered(report, output_format, output), output)
    return report.exit_code


def _fit(config: Path, wanted: InspectOptions, knob: str) -> FitReport:
    with progress_bar() as progress:
        progress("importing torch", 0.0)
        from bevdiag.diagnose.fit import fit

        return fit(config, wanted, knob, progress)


def _rendered(report: FitReport, output_format: str, output: str) -> str:
    if output_format == "json":
        from bevdiag.report.fit_json import fit_json

        return fit_json(report)
    from bevdiag.report.text.fit_report import render_fit

    return render_fit(report, layout_for(output))
