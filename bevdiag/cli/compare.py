"""`bevdiag compare`: the same model under several compressions, batch sizes and autocasts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.output import STDOUT, check_output, layout_for, write_output
from bevdiag.cli.progress import progress_bar
from bevdiag.cli.shipped import SHIPPED_NAME, shipped_config
from bevdiag.diagnose.result import CompareReport, InspectOptions

_COMPRESSIONS = "max,mean,learned,sparse_max"


def compare_command(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", help=f"Default: the shipped {SHIPPED_NAME}."),
    ] = None,
    compression: Annotated[
        str,
        typer.Option(
            "--compression", metavar="NAME,...", help="Beside none, which is the base line."
        ),
    ] = _COMPRESSIONS,
    batch_size: Annotated[
        str | None,
        typer.Option("--batch-size", metavar="N,...", help="Default: the config's own."),
    ] = None,
    autocast: Annotated[
        str | None,
        typer.Option(
            "--autocast",
            metavar="NAME,...",
            help="Of off, fp16 and bf16. Default: the config's own.",
        ),
    ] = None,
    points: opt.Points = None,
    optimizer: opt.Optimizer = None,
    gpu: opt.GpuName = None,
    budget: opt.Budget = None,
    cudnn: opt.Cudnn = None,
    sets: opt.Overrides = None,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
) -> int:
    """Compare ways to the BEV map of CONFIG in one table."""
    opt.choose("--format", output_format, opt.FORMATS)
    check_output(output)
    wanted = InspectOptions(
        device="meta",
        points=tuple(points or ()),
        optimizer=opt.optional_choice("--optimizer", optimizer, opt.optimizers),
        gpu=opt.gpu_name(gpu),
        budget_bytes=opt.budget_bytes(budget),
        cudnn=cudnn,
        overrides=opt.overrides(sets),
        pins=opt.pins(assume),
        seed=opt.whole_number("--seed", seed, least=0),
        remedies=False,
    )
    axes = (
        opt.choose_several("--compression", compression, opt.compressions()),
        () if batch_size is None else opt.whole_numbers("--batch-size", batch_size, least=1),
        () if autocast is None else opt.choose_several("--autocast", autocast, opt.AUTOCASTS),
    )
    report = _compare(config, wanted, *axes)
    write_output(_rendered(report, output_format, output), output)
    return report.exit_code


def _compare(
    config: Path | None,
    wanted: InspectOptions,
    compressions: Sequence[str],
    batch_sizes: Sequence[int],
    autocasts: Sequence[str],
) -> CompareReport:
    with progress_bar() as progress:
        progress("importing torch", 0.0)
        from bevdiag.diagnose.compare import compare

        chosen = config or shipped_config()
        report = compare(chosen, wanted, compressions, batch_sizes, autocasts, progress)
    return report if config is not None else replace(report, config=SHIPPED_NAME)


def _rendered(report: CompareReport, output_format: str, output: str) -> str:
    if output_format == "json":
        from bevdiag.report.compare_json import compare_json

        return compare_json(report)
    from bevdiag.report.text.compare_report import render_compare

    return render_compare(report, layout_for(output))
