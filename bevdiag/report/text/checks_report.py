"""Several configs as text: of preflight a line each, then why; of check what is found."""

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
from bevdiag.report.locations import module_or_phase
from bevdiag.report.printable import printable
from bevdiag.report.text.findings import finding_lines
from bevdiag.report.text.headline import stop_sentence, verdict_sentence
from bevdiag.report.text.prose import heading, paragraph, render_lines
from bevdiag.report.text.table import Row, cell, columns, lay_out
from bevdiag.rules.finding import Severity

if TYPE_CHECKING:
    from bevdiag.prediction.baseline import Baseline
from collections import Counter

_WORDS = {
    ExitCode.FITS: ("pass", "green"),
    ExitCode.FINDINGS: ("FAIL", "bold red"),
    ExitCode.NO_VERDICT: ("no verdict", "yellow"),
    ExitCode.USAGE: ("BROKEN", "bold red"),
}
_RECORDED = columns("config~ | peak> | reserved> | parameters> | recorded with~")
_COLUMNS = columns("config~ |  | peak> | reserved> | budget>1 | why~")


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


def _row(check: Check) -> Row:
    word, style = _WORDS[check.exit_code]
    return [
        check.config,
        cell(word, style),
        *map(bytes_if_known, figures(check)),
        why(check),
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
    rows = [
        [
            name,
            format_bytes(entry.peak_allocated_bytes),
            format_bytes(entry.high_reserved_bytes),
            format_count(entry.params),
            ", ".join(f"{what} {value}" for what, value in entry.conditions.items()),
        ]
        for name, entry in sorted(baseline.configs.items())
    ]
    return render_lines(lay_out(_RECORDED, rows, layout.width).lines(), layout)


_KINDS = {
    ExitCode.FITS: "without errors",
    ExitCode.NO_VERDICT: "not checked",
    ExitCode.FINDINGS: "with errors",
    ExitCode.USAGE: "that cannot be used",
}


def render_check(checks: Sequence[Check], layout: Layout) -> str:
    """Write the findings of every config that has some, then how many there are of each kind."""
    lines: list[Text] = []
    for check in worst_last(checks):
        if check.failure or check.findings or check.silenced or check.notes:
            lines += _checked_lines(check, layout)
    counts = Counter(check.exit_code for check in checks)
    counted = ", ".join(f"{counts[code]} {words}" for code, words in _KINDS.items() if counts[code])
    last: list[Text] = []
    if unjudged := sum(bool(check.notes) for check in checks):
        last += paragraph(
            f"{unjudged} with modules that are not built in, of which less could be said: "
            "bevdiag inspect CONFIG --source DIR traces them with their repository's code.",
            layout,
        )
    if counts[ExitCode.USAGE]:
        last += paragraph("Once they can be read: bevdiag check CONFIG... again.", layout)
    last += paragraph(f"Configs: {counted}.", layout)
    lines += [*([Text()] if lines else []), *last]
    return render_lines(lines, layout)


def _checked_lines(check: Check, layout: Layout) -> list[Text]:
    lines = heading(check.config, layout)
    if check.failure:
        lines += paragraph(check.failure, layout, indent=2)
    lines += finding_lines(check.findings, layout, check.silenced)
    for note in check.notes:
        lines += paragraph(f"Note: {note}.", layout, indent=2, style="dim")
    return lines
