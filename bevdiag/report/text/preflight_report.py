"""`bevdiag preflight` as text: a line a config, the worst last, then why."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Check, worst_last
from bevdiag.prediction.result import ConfigReport, Prediction
from bevdiag.report.amounts import bytes_if_known, format_bytes, format_count
from bevdiag.report.layout import Layout
from bevdiag.report.places import module_or_phase
from bevdiag.report.printable import printable
from bevdiag.report.text.findings import finding_lines
from bevdiag.report.text.headline import stop_sentence, verdict_sentence
from bevdiag.report.text.prose import heading, paragraph
from bevdiag.report.text.render import render_lines
from bevdiag.report.text.table import Column, cell, lay_out
from bevdiag.rules.finding import Severity

if TYPE_CHECKING:
    from bevdiag.prediction.baseline import Baseline

_WORDS = {
    ExitCode.FITS: ("pass", "green"),
    ExitCode.FINDINGS: ("FAIL", "bold red"),
    ExitCode.NO_VERDICT: ("no verdict", "yellow"),
    ExitCode.USAGE: ("BROKEN", "bold red"),
}
_COLUMNS = [
    Column("config", folds=True),
    Column("", right=False),
    Column("peak", right=True),
    Column("reserved", right=True),
    Column("budget", right=True, spare=1),
    Column("why", folds=True),
]


def render_preflight(checks: Sequence[Check], layout: Layout) -> str:
    """Write the table of configs and, below, what stands against those that did not pass."""
    ordered = worst_last(checks)
    table = lay_out(_COLUMNS, [_row(check) for check in ordered], layout.width)
    lines = [*table.lines(), *_budgets(ordered, layout)]
    for check in ordered:
        if check.exit_code is not ExitCode.FITS or check.notes:
            lines += _detail_lines(check, layout)
    return render_lines([*lines, *_next_lines(ordered)], layout)


def _next_lines(checks: Sequence[Check]) -> list[Text]:
    """Say what to do about the worst config that could not be judged; a command is never folded."""
    unjudged = [c for c in checks if c.exit_code in (ExitCode.USAGE, ExitCode.NO_VERDICT)]
    if not unjudged:
        return []
    config = shlex.quote(printable(unjudged[-1].config))
    if unjudged[-1].exit_code is ExitCode.USAGE:
        command = f"bevdiag check {config}"
    elif unjudged[-1].report is None:
        command = f"bevdiag inspect {config} --source DIR"
    else:
        command = f"bevdiag inspect {config} --full"
    return [Text(), Text(f"Next: {command}")]


def _row(check: Check) -> list[Text]:
    word, style = _WORDS[check.exit_code]
    return [
        cell(check.config),
        cell(word, style),
        *(cell(bytes_if_known(figure)) for figure in figures(check)),
        cell(why(check)),
    ]


def figures(check: Check) -> tuple[int | None, int | None, int | None]:
    """Peak, reserved at most and budget, in bytes; None for what is not known."""
    if not isinstance(check.report, Prediction):
        return None, None, None
    peak = check.report.peak
    return peak.allocated_bytes, peak.high_reserved_bytes, check.report.target.capacity_bytes


def why(check: Check) -> str:
    """Say what decides the check, in a few words."""
    report = check.report
    if report is None:
        return check.failure
    if isinstance(report, ConfigReport):
        return _errors(report)
    if report.verdict is Verdict.OVER and report.oom is not None:
        where = module_or_phase(report.oom.module, report.oom.phase)
        return f"{where} asks for {format_bytes(report.oom.requested_bytes)}"
    if report.verdict is Verdict.OVER:
        return "over the budget"
    if errors := _errors(report):
        return errors
    if check.growth:
        return check.growth[0].message
    if report.verdict is Verdict.DEPENDS:
        return f"up to {format_bytes(report.peak.high_bytes)} at the peak"
    if report.verdict is Verdict.UNKNOWN:
        return f"not modelled: {', '.join(report.unmodelled)}"
    return "no budget to judge by" if report.verdict is Verdict.NO_BUDGET else ""


def _errors(report: Prediction | ConfigReport) -> str:
    codes = [item.code for item in report.findings if item.severity is Severity.ERROR]
    return ", ".join(dict.fromkeys(codes))


def _budgets(checks: Sequence[Check], layout: Layout) -> list[Text]:
    budgets = dict.fromkeys(check.budget for check in checks if check.budget)
    if not budgets:
        return []
    return paragraph(f"Judged by {'; '.join(budgets)}.", layout, style="dim")


def _detail_lines(check: Check, layout: Layout) -> list[Text]:
    report = check.report
    lines = heading(check.config, layout)
    if report is None:
        return [*lines, *paragraph(check.failure, layout, indent=2)]
    if isinstance(report, Prediction):
        lines += paragraph(verdict_sentence(report), layout, indent=2)
        if report.oom is not None:
            lines += paragraph(stop_sentence(report.oom, report.verdict), layout, indent=2)
            lines += paragraph(report.oom.message, layout, indent=4, style="red")
    for note in check.notes:
        lines += paragraph(f"Note: {note}.", layout, indent=2, style="dim")
    errors = tuple(item for item in check.findings if item.severity is Severity.ERROR)
    return [*lines, *(finding_lines(errors, layout) if errors else [])]


def render_baseline(baseline: "Baseline", layout: Layout) -> str:
    """Every recorded config with its figures and the conditions they hold under."""
    columns = [
        Column("config", folds=True),
        Column("peak", right=True),
        Column("reserved", right=True),
        Column("parameters", right=True),
        Column("recorded with", folds=True),
    ]
    rows = [
        [
            cell(name),
            cell(format_bytes(entry.peak_allocated_bytes)),
            cell(format_bytes(entry.high_reserved_bytes)),
            cell(format_count(entry.params)),
            cell(", ".join(f"{what} {value}" for what, value in entry.conditions.items())),
        ]
        for name, entry in sorted(baseline.configs.items())
    ]
    return render_lines(lay_out(columns, rows, layout.width).lines(), layout)
