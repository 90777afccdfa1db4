"""`bevdiag inspect`: one training step of a config, and what it asks of a GPU."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.output import STDOUT, check_output, layout_for, write_output
from bevdiag.cli.progress import progress_bar
from bevdiag.diagnose.result import InspectOptions, InspectReport

_DEPTH = 3


def inspect_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="OpenPCDet YAML config.")],
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="|".join(opt.DEVICES),
            help="meta predicts without a GPU; cuda also measures; auto: cuda where there is one.",
        ),
    ] = "auto",
    points: opt.Points = None,
    batch_size: Annotated[
        str | None,
        typer.Option("--batch-size", metavar="N", help="Default: the config's own."),
    ] = None,
    autocast: Annotated[
        str | None,
        typer.Option(
            "--autocast", metavar="|".join(opt.AUTOCASTS), help="Default: the config's own."
        ),
    ] = None,
    optimizer: opt.Optimizer = None,
    gpu: opt.GpuName = None,
    budget: opt.Budget = None,
    cudnn: opt.Cudnn = None,
    compression: Annotated[
        str | None,
        typer.Option(
            "--compression",
            metavar="NAME",
            help="How the height is reduced: none, max, mean, learned, sparse_max, sparse_mean "
            "or sparse_sum. Default: the config's own.",
        ),
    ] = None,
    sets: opt.Overrides = None,
    depth: Annotated[
        str, typer.Option("--depth", metavar="N", help="Levels of the layer tree to show.")
    ] = str(_DEPTH),
    no_remedies: Annotated[
        bool, typer.Option("--no-remedies", help="Do not try any remedy.")
    ] = False,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Tell what one training step of CONFIG asks of a GPU."""
    opt.choose("--format", output_format, opt.FORMATS)
    levels = opt.whole_number("--depth", depth, least=1)
    check_output(output)
    wanted = InspectOptions(
        device=opt.choose("--device", device, opt.DEVICES),
        points=tuple(points or ()),
        batch_size=opt.optional_number("--batch-size", batch_size, least=1),
        autocast=opt.optional_choice("--autocast", autocast, opt.AUTOCASTS),
        optimizer=opt.optional_choice("--optimizer", optimizer, opt.optimizers),
        gpu=opt.gpu_name(gpu),
        budget_bytes=opt.budget_bytes(budget),
        cudnn=cudnn,
        compression=opt.optional_choice("--compression", compression, opt.compressions),
        overrides=opt.overrides(sets),
        pins=opt.pins(assume),
        seed=opt.whole_number("--seed", seed, least=0),
        remedies=not no_remedies,
    )
    report = _inspect(config, wanted)
    write_output(_rendered(report, output_format, output, levels), output)
    return report.exit_code


def _inspect(config: Path, wanted: InspectOptions) -> InspectReport:
    with progress_bar() as progress:
        progress("importing torch", 0.0)
        from bevdiag.diagnose.inspect import inspect

        return inspect(config, wanted, progress)


def _rendered(report: InspectReport, output_format: str, output: str, depth: int) -> str:
    if output_format == "json":
        from bevdiag.report.inspect_json import inspect_json

        return inspect_json(report)
    from bevdiag.report.text.inspect_report import render_inspect

    return render_inspect(report, layout_for(output), depth=depth)
