"""`bevdiag inspect`: one training step of a config, and what it asks of a GPU."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bevdiag.cli import options as opt
from bevdiag.cli.asked import FIXED, REST, STEP, TARGET, Asked, takes
from bevdiag.cli.output import (
    INSPECT_FORMATS,
    MEMORY_VIZ,
    STDOUT,
    check_binary,
    check_output,
    check_page,
    layout_for,
    renderer,
    say,
    write_checks,
    write_output,
    write_report,
)
from bevdiag.cli.progress import importing_torch, progress_bar
from bevdiag.errors import InputError
from bevdiag.prediction import values

if TYPE_CHECKING:
    from bevdiag.prediction.checked import Job
    from bevdiag.prediction.options import InspectOptions
    from bevdiag.prediction.result import ConfigReport, Prediction


_LEVELS = 3


@takes(*STEP, *TARGET, *REST, "device", "data_root", device="auto")
def inspect_command(
    asked: Asked,
    config: opt.ConfigOrEntry = None,
    full: opt.Full = False,
    depth: opt.Depth = None,
    remedies: opt.Remedies = None,
    verbose: opt.Verbose = False,
    output_format: opt.InspectFormat = "text",
    output: opt.Output = STDOUT,
    html: opt.Html = None,
) -> int:
    """Tell what one training step of CONFIG asks of a GPU."""
    values.choose("--format", output_format, INSPECT_FORMATS)
    levels = None if depth is None else values.whole_number("--depth", depth, least=1)
    check_output(output)
    check_page(html)
    as_snapshot = output_format == MEMORY_VIZ
    if as_snapshot:
        check_binary(output, f"--format {MEMORY_VIZ}")
    job = asked.job(config)
    if remedies:
        _check_remedies(job.options)
    wanted = replace(
        job.options,
        # A snapshot alone shows none of them.
        remedies=False if as_snapshot and html is None else remedies,
        blocks=html is not None,
        snapshot=as_snapshot,
        evaluation=full,
    )
    levels = levels or (_LEVELS if full or verbose else None)
    is_early = output_format == "text" and output == STDOUT
    report, is_begun = _inspect(
        replace(job, options=wanted), is_early=is_early, is_full=levels is not None
    )
    if as_snapshot:
        _write_snapshot(report, output)
    else:
        commands = {
            "inspect": asked.command("inspect", config, (*STEP, *TARGET, *REST, "data_root")),
            "fix": asked.command("fix", config, (*FIXED, *REST)),
        }
        _write(
            report,
            output_format,
            output,
            levels,
            verbose=verbose,
            is_begun=is_begun,
            commands=commands,
        )
    if html is not None:
        write_output(_page(report), html, option="--html", exact=True)
    return report.exit_code


def _check_remedies(options: "InspectOptions") -> None:
    """Refuses to look for what cannot be found.

    Raises:
        InputError: there is nothing to fit.
    """
    if options.gpu is None and options.process_bytes is None:
        raise InputError("--remedies: say what the step must fit, with --gpu NAME or --budget SIZE")


def _inspect(
    job: "Job", *, is_early: bool, is_full: bool
) -> "tuple[Prediction | ConfigReport, bool]":
    """Return the report, and whether its first lines are written: they wait for no plans."""
    with progress_bar() as progress:
        with importing_torch(progress):
            from bevdiag.prediction.checked import without_ignored
            from bevdiag.prediction.inspect import inspect
            from bevdiag.remedies.search import plans_for
        begun = []

        def begin(report: "Prediction") -> None:
            from bevdiag.report.text.inspect_report import render_opening
            from bevdiag.report.text.short_report import render_head

            render = render_opening if is_full else render_head
            with progress.aside():
                write_output(render(report, layout_for(STDOUT)), STDOUT)
            begun.append(report)

        report = inspect(
            job.config, job.options, progress, plans_for, judged_so=begin if is_early else None
        )
    return without_ignored(report, job.ignore), bool(begun)


def _page(report: "Prediction | ConfigReport") -> str:
    from bevdiag.prediction.result import ConfigReport
    from bevdiag.report.html.report_pages import config_page, inspect_page

    return config_page(report) if isinstance(report, ConfigReport) else inspect_page(report)


def _write_snapshot(report: "Prediction | ConfigReport", output: str) -> None:
    from bevdiag.prediction.result import ConfigReport
    from bevdiag.report.memory_viz import memory_viz

    if isinstance(report, ConfigReport) or report.snapshot is None:
        say(f"{report.config}: nothing was traced, so there is no snapshot")
        for finding in report.findings:
            say(f"{finding.severity.value} {finding.code}: {finding.message}")
    else:
        write_output(memory_viz(report.snapshot), output)


def _write(
    report: "Prediction | ConfigReport",
    output_format: str,
    output: str,
    depth: int | None,
    *,
    verbose: bool,
    is_begun: bool,
    commands: Mapping[str, str],
) -> None:
    from bevdiag.prediction.result import ConfigReport
    from bevdiag.report.text.inspect_report import render_config, render_inspect

    if output_format not in values.FORMATS:
        from bevdiag.prediction.checked import Check

        check = Check(config=report.config, report=report)
        write_checks(renderer(output_format)([check]), output_format, output)
    elif isinstance(report, ConfigReport):
        write_report(report, output_format, output, as_text=render_config)
    else:
        from bevdiag.report.text.short_report import render_short

        as_text = (
            partial(render_short, is_begun=is_begun, commands=commands)
            if depth is None
            else partial(render_inspect, depth=depth, verbose=verbose, is_begun=is_begun)
        )
        write_report(report, output_format, output, as_text=as_text)
