"""`bevdiag preflight`: the gate before a training launch."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bevdiag.cli import options as opt
from bevdiag.cli.asked import REST, STEP, TARGET, OptionTexts, reports, takes
from bevdiag.cli.output import (
    CHECK_FORMATS,
    STDOUT,
    Output,
    further_outputs,
    say_error,
    say_report,
)
from bevdiag.cli.progress import importing_torch, progress_bar
from bevdiag.errors import ExitCode, InputError
from bevdiag.prediction import values
from bevdiag.prediction.options import InspectOptions

if TYPE_CHECKING:
    from bevdiag.prediction.checked import Check, Job


_TAKEN = (*STEP, *TARGET, *REST)


@takes(*_TAKEN)
@reports(CHECK_FORMATS)
def preflight_command(
    asked: OptionTexts,
    output: Output,
    context: typer.Context,
    configs: opt.ConfigsOrEntry = None,
    baseline: Annotated[Path | None, opt.option("--baseline FILE")] = None,
    tolerance: Annotated[str | None, opt.option("--tolerance SHARE")] = None,
    uncertain: Annotated[str, opt.option("--uncertain fail|pass")] = "fail",
    quiet: Annotated[bool, opt.option("-q, --quiet")] = False,
    also: opt.Also = None,
) -> int:
    """Check configs against the budget, then run a command.

    The command follows --. It runs once every config passes, and its exit code is preflight's.
    """
    from bevdiag.config.found import config_files
    from bevdiag.prediction.baseline import compared, read_baseline
    from bevdiag.prediction.checked import worst

    values.choose("--uncertain", uncertain, ("fail", "pass"))
    if tolerance is not None and baseline is None:
        raise InputError("--tolerance: is of --baseline: give both")
    share = values.percentage("--tolerance", tolerance or "1%")
    command: tuple[str, ...] = context.obj or ()
    if context.obj == ():
        raise InputError("name the command to run after --, or leave out --")
    beside = further_outputs(also)
    recorded = None if baseline is None else read_baseline(baseline)
    jobs = asked.jobs(config_files(configs or []))
    checks = run_jobs(jobs, quiet=quiet)
    if baseline is not None and recorded is not None:
        checks = tuple(compared(check, recorded, baseline, share) for check in checks)
    for further in beside:
        further.write(checks)
    code = worst(check.exit_code for check in checks)
    if uncertain == "pass" and code is ExitCode.NO_VERDICT:
        code = ExitCode.FITS
    if code != ExitCode.FITS or not quiet or output.file != STDOUT:
        from bevdiag.report.text.checks_report import write_preflight

        as_text = partial(write_preflight, following=_next_command(asked, checks))
        if command and output.file == STDOUT:  # which is the command's own
            say_report(output.rendered(checks, as_text))
        else:
            output.write(checks, as_text)
    if code != ExitCode.FITS or not command:
        return code
    return _launched(command, jobs)


def _next_command(asked: OptionTexts, checks: "Sequence[Check]") -> str:
    """Say what to do about the worst config that could not be judged; empty where all were."""
    from bevdiag.prediction.checked import worst_last

    unjudged = [c for c in checks if c.exit_code in (ExitCode.USAGE, ExitCode.NO_VERDICT)]
    if not unjudged:
        return ""
    worst = worst_last(unjudged)[-1]
    is_entry = asked.entry is not None and asked.entry.rpartition(":")[0] == worst.config
    config = None if is_entry else Path(worst.config)
    if worst.exit_code is ExitCode.USAGE and config is not None:
        return asked.command("check", config, ("sets", "policy", "isolated"))
    inspect = asked.command("inspect", config, _TAKEN)
    if worst.report is not None:
        return f"{inspect} --full"
    return inspect if asked.source or asked.entry else f"{inspect} --source DIR"


def run_jobs(jobs: "Sequence[Job]", *, quiet: bool = False) -> "tuple[Check, ...]":
    """Every config through the engine."""
    with progress_bar(quiet=quiet) as progress:
        with importing_torch(progress):
            from bevdiag.prediction.preflight import preflight

        return preflight(jobs, progress)


def _launched(command: Sequence[str], jobs: "Sequence[Job]") -> int:
    from bevdiag.cli.launch import launch

    ended = launch(command)
    if ended.exit_code != 0:
        try:
            _explain(ended.tail, jobs)
        except Exception as error:  # the command's own exit code is what counts
            say_error(error)
    return ended.exit_code


def _explain(tail: str, jobs: "Sequence[Job]") -> None:
    """On stderr, what the command ran out of memory for, if it did."""
    from bevdiag.explain.explain import explain
    from bevdiag.explain.messages import read_log
    from bevdiag.report.printable import Layout
    from bevdiag.report.text.explain_report import write_explain
    from bevdiag.report.text.prose import rendered

    if not read_log(tail):
        return  # it died of something else, and has said so itself
    config, options = None, InspectOptions()
    if len(jobs) == 1:
        config = jobs[0].config
        # The message tells which GPU it was, which need not be the one judged by.
        options = replace(jobs[0].options, gpu=None, process_bytes=None)
    explanation = explain(tail, config, options, lambda _what, _share: None)
    say_report(rendered(Layout(), write_explain, explanation))
