"""`bevdiag inspect`: one training step of a config, and what it asks of a GPU."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from bevdiag.cli import options as opt
from bevdiag.cli.asked import FIXED, REST, STEP, TARGET, OptionTexts, reports, takes
from bevdiag.cli.output import (
    INSPECT_FORMATS,
    MEMORY_VIZ,
    STDOUT,
    Output,
    say,
    write_output,
)
from bevdiag.cli.progress import importing_torch, progress_bar
from bevdiag.errors import InputError
from bevdiag.prediction import values

if TYPE_CHECKING:
    from bevdiag.prediction.checked import Job
    from bevdiag.prediction.result import ConfigReport, Prediction
    from bevdiag.report.text.prose import Page


_LEVELS = 3


_TAKEN = (*STEP, *TARGET, *REST, "device", "data_root")


@takes(*_TAKEN)
@reports(INSPECT_FORMATS, page=True)
def inspect_command(
    asked: OptionTexts,
    output: Output,
    config: opt.ConfigOrEntry = None,
    full: Annotated[bool, opt.option("--full")] = False,
    depth: Annotated[str | None, opt.option("--depth N")] = None,
    remedies: Annotated[bool | None, opt.option("--remedies/--no-remedies")] = None,
    verbose: Annotated[bool, opt.option("--verbose, -v")] = False,
) -> int:
    """Tell what one training step of CONFIG asks of a GPU."""
    levels = None if depth is None else values.whole_number("--depth", depth, least=1)
    as_snapshot = output.format == MEMORY_VIZ
    job = asked.job(config)
    if remedies and job.options.gpu is None and job.options.process_bytes is None:
        raise InputError("--remedies: say what the step must fit, with --gpu NAME or --budget SIZE")
    shows_plans = output.format in values.FORMATS or output.page is not None
    if remedies and not shows_plans:
        raise InputError(f"--remedies: {output.format} shows none: see them as text or json")
    for option, given in (("--full", full), ("--depth", depth), ("-v", verbose)):
        if given and output.format != "text":
            raise InputError(f"{option}: is of the text; {output.format} is always whole")
    levels = levels or (_LEVELS if full or verbose else None)
    wanted = replace(
        job.options,
        remedies=remedies if shows_plans else False,
        blocks=output.page is not None,
        snapshot=as_snapshot,
        evaluation=levels is not None and output.format == "text",
    )
    is_early = (output.format, output.file) == ("text", STDOUT)
    report, is_begun = _inspect(
        replace(job, options=wanted), is_early=is_early, is_full=levels is not None
    )
    if as_snapshot:
        _write_snapshot(report, output.file)
    elif output.format not in values.FORMATS:
        from bevdiag.prediction.checked import Check

        output.write([Check(config=report.config, report=report)])
    else:
        commands = {
            "inspect": asked.command("inspect", config, _TAKEN),
            # It edits the config, whose way to the BEV map is not the one that is asked about.
            "fix": "" if asked.compression else asked.command("fix", config, (*FIXED, *REST)),
        }
        as_text = partial(
            _write, levels=levels, verbose=verbose, is_begun=is_begun, commands=commands
        )
        output.write(report, as_text)
    output.write_page(report)
    return report.exit_code


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
            from bevdiag.report.text.headline import write_opening
            from bevdiag.report.text.short_report import write_head

            with progress.aside():
                Output().write(report, write_opening if is_full else write_head)
            begun.append(report)

        report = inspect(
            job.config, job.options, progress, plans_for, judged_so=begin if is_early else None
        )
    return without_ignored(report, job.ignore), bool(begun)


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
    page: "Page",
    report: "Prediction | ConfigReport",
    *,
    levels: int | None,
    verbose: bool,
    is_begun: bool,
    commands: Mapping[str, str],
) -> None:
    from bevdiag.prediction.result import ConfigReport
    from bevdiag.report.text.inspect_report import write_config, write_inspect
    from bevdiag.report.text.short_report import write_short

    if isinstance(report, ConfigReport):
        write_config(page, report)
    elif levels is None:
        write_short(page, report, is_begun=is_begun, commands=commands)
    else:
        write_inspect(page, report, depth=levels, verbose=verbose, is_begun=is_begun)
