"""`bevdiag compare`: the same model under several compressions, batch sizes and autocasts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.output import STDOUT, check_output, check_page, write_output, write_report
from bevdiag.cli.progress import progress_bar
from bevdiag.cli.shipped import SHIPPED_NAME, shipped_config
from bevdiag.cli.wanted import inspect_options
from bevdiag.diagnose.result import InspectOptions
from bevdiag.diagnose.variants import CompareReport

DEFAULT_MODES = "max,mean,learned,sparse_max"


def compare_command(
    config: opt.ConfigOrShipped = None,
    compression: opt.Compressions = None,
    batch_size: opt.BatchSizes = None,
    autocast: opt.Autocasts = None,
    source: opt.Source = None,
    points: opt.Points = None,
    point_columns: opt.PointColumns = None,
    point_dtype: opt.PointDtype = None,
    optimizer: opt.Optimizer = None,
    gpu: opt.GpuName = None,
    budget: opt.Budget = None,
    cudnn: opt.Cudnn = None,
    profile: opt.Profile = None,
    cudnn_benchmark: opt.CudnnBenchmark = False,
    sets: opt.Overrides = None,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    timeout: opt.Timeout = None,
    output_format: opt.Format = "text",
    output: opt.Output = STDOUT,
    html: opt.Html = None,
) -> int:
    """Compare ways to the BEV map of CONFIG in one table."""
    values.choose("--format", output_format, values.FORMATS)
    check_output(output)
    check_page(html)
    wanted = inspect_options(
        points=points,
        point_columns=point_columns,
        point_dtype=point_dtype,
        optimizer=optimizer,
        gpu=gpu,
        budget=budget,
        cudnn=cudnn,
        profile=profile,
        cudnn_benchmark=cudnn_benchmark,
        sets=sets,
        source=source,
        assume=assume,
        seed=seed,
        timeout=timeout,
    )
    axes = (
        _modules(compression) if source is not None else _modes(compression),
        values.batch_sizes(batch_size),
        values.autocasts(autocast),
    )
    report = _compare(config, wanted, *axes)
    from bevdiag.report.compare_json import compare_json
    from bevdiag.report.text.compare_report import render_compare

    write_report(report, output_format, output, as_json=compare_json, as_text=render_compare)
    if html is not None:
        from bevdiag.report.html.compare_page import compare_page

        write_output(compare_page(report), html, option="--html")
    return report.exit_code


def _modes(text: str | None) -> tuple[str, ...]:
    return values.choose_several("--compression", text or DEFAULT_MODES, values.compressions())


def _modules(text: str | None) -> tuple[str, ...]:
    """What the repository's own modules are called is known to the repository alone."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


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
