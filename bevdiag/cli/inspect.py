"""`bevdiag inspect`: one training step of a config, and what it asks of a GPU."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from bevdiag.cli import options as opt
from bevdiag.cli import values
from bevdiag.cli.formats import INSPECT_FORMATS, MEMORY_VIZ, renderer
from bevdiag.cli.output import (
    STDOUT,
    check_binary,
    check_output,
    check_page,
    say,
    write_output,
    write_report,
)
from bevdiag.cli.progress import progress_bar
from bevdiag.cli.wanted import inspect_options
from bevdiag.diagnose.result import ConfigReport, InspectOptions, InspectReport


def inspect_command(
    config: opt.Config,
    device: opt.Device = "auto",
    points: opt.Points = None,
    point_columns: opt.PointColumns = None,
    point_dtype: opt.PointDtype = None,
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
    as_snapshot = output_format == MEMORY_VIZ
    if as_snapshot:
        check_binary(output, f"--format {MEMORY_VIZ}")
    wanted = replace(
        inspect_options(
            device=device,
            points=points,
            point_columns=point_columns,
            point_dtype=point_dtype,
            batch_size=batch_size,
            autocast=autocast,
            optimizer=optimizer,
            gpu=gpu,
            budget=budget,
            cudnn=cudnn,
            profile=profile,
            cudnn_benchmark=cudnn_benchmark,
            compression=compression,
            sets=sets,
            source=source,
            data_root=data_root,
            assume=assume,
            seed=seed,
            timeout=timeout,
        ),
        # A snapshot alone shows none of them.
        remedies=not no_remedies and (html is not None or not as_snapshot),
        lives=html is not None,
        snapshot=as_snapshot,
    )
    report = _inspect(config, wanted)
    if as_snapshot:
        _write_snapshot(report, output)
    else:
        _write(report, output_format, output, levels, verbose=verbose)
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


def _write(
    report: InspectReport | ConfigReport,
    output_format: str,
    output: str,
    depth: int,
    *,
    verbose: bool,
) -> None:
    if output_format not in values.FORMATS:
        from bevdiag.diagnose.checked import Check

        check = Check(config=report.config, report=report)
        write_output(renderer(output_format)([check]), output)
    elif isinstance(report, ConfigReport):
        from bevdiag.report.config_json import config_json
        from bevdiag.report.text.config_report import render_config

        write_report(report, output_format, output, as_json=config_json, as_text=render_config)
    else:
        from bevdiag.report.inspect_json import inspect_json
        from bevdiag.report.text.inspect_report import render_inspect

        as_text = partial(render_inspect, depth=depth, verbose=verbose)
        write_report(report, output_format, output, as_json=inspect_json, as_text=as_text)
