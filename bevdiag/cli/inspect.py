"""`bevdiag inspect`: one training step of a config, and what it asks of a GPU."""

from pathlib import Path

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.formats import INSPECT_FORMATS, MEMORY_VIZ, renderer
from bevdiag.cli.output import (
    STDOUT,
    check_binary,
    check_output,
    check_page,
    layout_for,
    say,
    write_output,
)
from bevdiag.cli.progress import progress_bar
from bevdiag.diagnose.result import ConfigReport, InspectOptions, InspectReport


def inspect_command(
    config: opt.Config,
    device: opt.Device = "auto",
    points: opt.Points = None,
    batch_size: opt.BatchSize = None,
    autocast: opt.Autocast = None,
    optimizer: opt.Optimizer = None,
    gpu: opt.GpuName = None,
    budget: opt.Budget = None,
    cudnn: opt.Cudnn = None,
    profile: opt.Profile = None,
    cudnn_benchmark: opt.CudnnBenchmark = False,
    compression: opt.Compression = None,
    sets: opt.Overrides = None,
    depth: opt.Depth = "3",
    source: opt.Source = None,
    data_root: opt.DataRoot = None,
    no_remedies: opt.NoRemedies = False,
    assume: opt.Assumed = None,
    seed: opt.Seed = "0",
    timeout: opt.Timeout = None,
    verbose: opt.Verbose = False,
    output_format: opt.InspectFormat = "text",
    output: opt.Output = STDOUT,
    html: opt.Html = None,
) -> int:
    """Tell what one training step of CONFIG asks of a GPU."""
    values.choose("--format", output_format, INSPECT_FORMATS)
    levels = values.whole_number("--depth", depth, least=1)
    check_output(output)
    check_page(html)
    if output_format == MEMORY_VIZ:
        check_binary(output, f"--format {MEMORY_VIZ}")
    wanted = InspectOptions(
        device=values.choose("--device", device, values.DEVICES),
        points=tuple(points or ()),
        batch_size=values.optional_number("--batch-size", batch_size, least=1),
        autocast=values.optional_choice("--autocast", autocast, values.AUTOCASTS),
        optimizer=values.optional_choice("--optimizer", optimizer, values.optimizers),
        gpu=values.gpu_name(gpu),
        budget_bytes=values.budget_bytes(budget),
        cudnn=cudnn,
        profile=profile,
        cudnn_benchmark=cudnn_benchmark,
        compression=values.optional_choice("--compression", compression, values.compressions),
        overrides=values.overrides(sets),
        pins=values.pins(assume),
        seed=values.whole_number("--seed", seed, least=0),
        timeout_seconds=values.optional_number("--timeout", timeout, least=1),
        # A snapshot alone shows none of them.
        remedies=not no_remedies and (output_format != MEMORY_VIZ or html is not None),
        source=values.source_folder(source),
        data_root=values.folder("--data-root", data_root),
        lives=html is not None,
        snapshot=output_format == MEMORY_VIZ,
    )
    report = _inspect(config, wanted)
    if output_format == MEMORY_VIZ:
        _write_snapshot(report, output)
    else:
        write_output(_rendered(report, output_format, output, levels, verbose), output)
    if html is not None:
        write_output(_page(report), html, option="--html")
    return report.exit_code


def _inspect(config: Path, wanted: InspectOptions) -> InspectReport | ConfigReport:
    with progress_bar() as progress:
        progress("importing torch", 0.0)
        from bevdiag.diagnose.inspect import inspect

        return inspect(config, wanted, progress)


def _page(report: InspectReport | ConfigReport) -> str:
    if isinstance(report, ConfigReport):
        from bevdiag.report.html.config_page import config_page

        return config_page(report)
    from bevdiag.report.html.inspect_page import inspect_page

    return inspect_page(report)


def _write_snapshot(report: InspectReport | ConfigReport, output: str) -> None:
    from bevdiag.report.memory_viz import memory_viz

    if isinstance(report, ConfigReport) or report.snapshot is None:
        say(f"{report.config}: nothing was traced, so there is no snapshot")
        for finding in report.findings:
            say(f"{finding.severity.value} {finding.code}: {finding.message}")
    else:
        write_output(memory_viz(report.snapshot), output)


def _rendered(
    report: InspectReport | ConfigReport,
    output_format: str,
    output: str,
    depth: int,
    verbose: bool,
) -> str:
    if output_format not in values.FORMATS:
        from bevdiag.diagnose.checked import Check

        return renderer(output_format)([Check(config=report.config, report=report)])
    if isinstance(report, ConfigReport):
        return _rendered_config(report, output_format, output)
    if output_format == "json":
        from bevdiag.report.inspect_json import inspect_json

        return inspect_json(report)
    from bevdiag.report.text.inspect_report import render_inspect

    return render_inspect(report, layout_for(output), depth=depth, verbose=verbose)


def _rendered_config(report: ConfigReport, output_format: str, output: str) -> str:
    if output_format == "json":
        from bevdiag.report.config_json import config_json

        return config_json(report)
    from bevdiag.report.text.config_report import render_config

    return render_config(report, layout_for(output))
