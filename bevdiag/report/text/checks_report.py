"""Several configs as text: of preflight a line each, then why; of check what is found."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Check, worst_last
from bevdiag.prediction.result import ConfigReport, Prediction
from bevdiag.report.amounts import format_bytes, format_count
from bevdiag.report.text.findings import write_findings
from bevdiag.report.text.headline import verdict_sentence, write_stop
from bevdiag.report.text.prose import Page, module_or_phase
from bevdiag.report.text.table import Row, cell
from bevdiag.rules.finding import Severity

if TYPE_CHECKING:
    from bevdiag.prediction.baseline import Baseline

WORDS = {
    ExitCode.FITS: ("pass", "green"),
    ExitCode.FINDINGS: ("FAIL", "bold red"),
    ExitCode.NO_VERDICT: ("no verdict", "yellow"),
    ExitCode.USAGE: ("BROKEN", "bold red"),
}
_RECORDED = "config~ | peak> | reserved> | parameters> | recorded with~"
_COLUMNS = "config~ |  | peak> | reserved> | usable>1 | why~"


def write_preflight(page: Page, checks: Sequence[Check], *, following: str = "") -> None:
    """Write the table of configs, what stands against those that did not pass, a next command."""
    ordered = worst_last(checks)
    page.table(_COLUMNS, [_row(check) for check in ordered], indent=0)
    if budgets := dict.fromkeys(check.budget for check in checks if check.budget):
        page.paragraph(f"Judged by {'; '.join(budgets)}.", style="dim")
    for check in ordered:
        if check.exit_code is not ExitCode.FITS or check.notes:
            _write_details(page, check)
    if following:
        page.line()
        page.line(f"Next: {following}")  # never folded: it is there to be copied


def _row(check: Check) -> Row:
    word, style = WORDS[check.exit_code]
    return [
        check.config,
        cell(word, style),
        *map(format_bytes, figures(check)),
        why(check),
    ]


def figures(check: Check) -> tuple[int | None, int | None, int | None]:
    """Peak, reserved at most and what is usable, in bytes; None for what is not known."""
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
    if report.verdict is Verdict.OVER:
        assert report.oom is not None
        where = module_or_phase(report.oom.module, report.oom.phase)
        return f"{where} asks for {format_bytes(report.oom.requested_bytes)}"
    if errors := _errors(report):
        return errors
    if check.growth:
        return check.growth[0].message
    if report.verdict is Verdict.DEPENDS:
        return f"up to {format_bytes(report.peak.high_reserved_bytes)} reserved"
    if report.verdict is Verdict.UNKNOWN:
        return f"not modelled: {', '.join(report.unmodelled)}"
    return "no budget to judge by" if report.verdict is Verdict.NO_BUDGET else ""


def _errors(report: Prediction | ConfigReport) -> str:
    codes = [item.code for item in report.findings if item.severity is Severity.ERROR]
    return ", ".join(dict.fromkeys(codes))


def _write_details(page: Page, check: Check) -> None:
    report = check.report
    page.heading(check.config)
    if report is None:
        page.paragraph(check.failure, indent=2)
        return
    if isinstance(report, Prediction):
        page.paragraph(verdict_sentence(report), indent=2)
        write_stop(page, report, indent=2, style="red")
    _write_notes(page, check)
    write_findings(page, tuple(f for f in check.findings if f.severity is Severity.ERROR))


def _write_notes(page: Page, check: Check) -> None:
    for note in check.notes:
        page.note(f"Note: {note}.")


def write_baseline(page: Page, baseline: "Baseline") -> None:
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
    page.table(_RECORDED, rows, indent=0)


_KINDS = {
    ExitCode.FITS: "without errors",
    ExitCode.NO_VERDICT: "not checked",
    ExitCode.FINDINGS: "with errors",
    ExitCode.USAGE: "that cannot be used",
}


def write_check(page: Page, checks: Sequence[Check]) -> None:
    """Write the findings of every config that has some, then how many there are of each kind."""
    for check in worst_last(checks):
        if check.failure or check.findings or check.silenced or check.notes:
            page.heading(check.config)
            if check.failure:
                page.paragraph(check.failure, indent=2)
            write_findings(page, check.findings, check.silenced)
            _write_notes(page, check)
    if page.lines:
        page.line()
    if unjudged := sum(bool(check.notes) for check in checks):
        page.paragraph(
            f"{unjudged} with modules that are not built in, of which less could be said: "
            "bevdiag inspect CONFIG --source DIR traces them with their repository's code."
        )
    counts = Counter(check.exit_code for check in checks)
    if counts[ExitCode.USAGE]:
        page.paragraph("Once they can be read: bevdiag check CONFIG... again.")
    counted = ", ".join(f"{counts[code]} {words}" for code, words in _KINDS.items() if counts[code])
    page.paragraph(f"Configs: {counted}.")
