"""`bevdiag fit`: the largest batch, voxel cap or points a voxel that fits."""

from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.output import STDOUT, check_output, write_report
from bevdiag.cli.progress import progress_bar
from bevdiag.cli.wanted import inspect_options
from bevdiag.diagnose.remedies.fit_results import KNOBS

Knob = Annotated[
    str, typer.Option("--what", metavar="|".join(KNOBS), help="What is made as large as it goes.")
]


def fit_command(
    config: opt.Config,
    what: Knob = "batch",
    gpu: opt.GpuName = None,
    budget: opt.Budget = None,
    points: opt.Points = None,
    point_columns: opt.PointColumns = None,
    point_dtype: opt.PointDtype = None,
    batch_size: opt.BatchSize = None,
    autocast: opt.Autocast = None,
    optimizer: opt.Optimizer = None,
    cudnn: opt.Cudnn = None,
    compression: opt.Compression = None,
    sets: opt.Overrides = None,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    timeout: opt.Timeout = None,
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Find the largest batch or cap on voxels with which CONFIG fits."""
    values.choose("--format", output_format, values.FORMATS)
    values.choose("--what", what, tuple(KNOBS))
    check_output(output)
    wanted = inspect_options(
        points=points,
        point_columns=point_columns,
        point_dtype=point_dtype,
        batch_size=batch_size,
        autocast=autocast,
        optimizer=optimizer,
        gpu=gpu,
        budget=budget,
        cudnn=cudnn,
        compression=compression,
        sets=sets,
        assume=assume,
        seed=seed,
        timeout=timeout,
    )
    with progress_bar() as progress:
        progress("importing torch", 0.0)
        from bevdiag.diagnose.fit import fit

        report = fit(config, wanted, what, progress)
    from bevdiag.report.fit_json import fit_json
    from bevdiag.report.text.fit_report import render_fit

    write_report(report, output_format, output, as_json=fit_json, as_text=render_fit)
    return report.exit_code
