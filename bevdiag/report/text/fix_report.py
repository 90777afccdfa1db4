"""`bevdiag fix` as text."""

from collections.abc import Sequence

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Plan
from bevdiag.remedies.results import FixReport
from bevdiag.report.amounts import UNKNOWN, format_bytes, format_count, format_error, format_flops
from bevdiag.report.printable import printable
from bevdiag.report.text.assumed import write_settings
from bevdiag.report.text.prose import VERDICT_WORDS, Page, budget_name
from bevdiag.report.text.table import Row, cell

_COST_WORDS = ("nothing", "time", "precision", "model", "input")
_COLUMNS = "changes~ | peak> | at most> | compute> | parameters>1 | costs~ | verdict"
_LABEL_COLUMN = 9


def outcome(report: FixReport) -> str:
    """Say what came of it, in a few sentences."""
    where = budget_name(report.target)
    chosen = report.chosen
    if report.base.fits and chosen is None:
        return f"{report.config} fits {where} as it is: nothing to change."
    if chosen is None:
        return _without_a_way_out(report, where)
    peak, high = map(format_bytes, (chosen.peak_allocated_bytes, chosen.high_bytes))
    changes = chosen.id or "the edits below"
    does = "runs" if report.target.capacity_bytes is None else f"fits {where}"
    text = f"With {changes} {report.config} {does}: a peak of {peak}, {high} at most."
    if report.refusal:
        return f"{text} Not written: {report.refusal}."
    return f"{text} Written, read again and inspected again." if report.written else text


def write_fix(page: Page, report: FixReport) -> None:
    """Outcome first, then the edits, the frontier, every change alone, and advice."""
    page.paragraph(outcome(report), style="bold")
    if report.chosen is not None:
        _write_edits(page, report, report.chosen)
    if report.frontier:
        page.heading("Memory against cost")
        _write_plans(page, report.frontier, report.base)
        page.note(
            "What no other traced set beats in both, the cheapest first. Sets are compared by the "
            "dearest of their changes, then by the next, then by compute."
        )
    if report.singles:
        _write_tried(page, report)
    _write_advice(page, report)
    write_settings(page, report.target, report.scene)


def _without_a_way_out(report: FixReport, where: str) -> str:
    traced = [*report.singles, *report.combined]
    taking_part = [o for o in traced if not o.error and (report.unsafe_allowed or not o.unsafe)]
    text = f"No set of changes that was traced, of {len(taking_part)}, fits {where}."
    if taking_part:
        least = min(taking_part, key=lambda plan: plan.high_bytes or 0)
        text += f" The least is left by {least.id}: {format_bytes(least.high_bytes)} at most."
    if not report.unsafe_allowed:
        text += " Changes that are marked unsafe took no part: --unsafe lets them."
    return text


def _write_edits(page: Page, report: FixReport, chosen: Plan) -> None:
    page.heading("Edits")
    for change in chosen.changes:
        page.line("  ", (change.id, "bold"))
        page.paragraph(change.title, indent=4)
        parts = [("loses", change.loses), ("unsafe", change.unsafe), ("needs", change.needs)]
        page.labelled(parts, indent=4, column=_LABEL_COLUMN)
    page.line()
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in report.diff.splitlines():
        # To be copied: a line of a diff is never folded.
        page.line("  ", (printable(line), styles.get(line[:1], "")))


def _write_tried(page: Page, report: FixReport) -> None:
    page.heading("Traced")
    # A change that leaves no config that runs is nobody's choice.
    singles, combined = (
        tuple(plan for plan in plans if not plan.error)
        for plans in (report.singles, report.combined)
    )
    for plan in page.rows(_COLUMNS, [_row(plan, report.base) for plan in singles], singles):
        page.paragraph(plan.changes[0].title, indent=4, style="dim")
        if plan.needs:
            page.paragraph(f"needs {plan.changes[0].needs}", indent=4, style="dim")
    if combined:
        page.line()
        _write_plans(page, combined, report.base)
    page.note(
        "Each was applied to the config and traced again; peak: allocated; compute: "
        "floating point operations of a step, per sample, "
        f"{format_flops(report.base.flops or 0)} now."
    )


def _write_plans(page: Page, plans: Sequence[Plan], base: Plan) -> None:
    page.table(_COLUMNS, [_row(plan, base) for plan in plans])


def _row(plan: Plan, base: Plan) -> Row:
    word, style = VERDICT_WORDS[plan.verdict]
    return [
        cell(plan.id.replace("+", " + ") or "as it is", "bold"),
        format_bytes(plan.peak_allocated_bytes),
        format_bytes(plan.high_bytes),
        format_error(plan.flops, base.flops),
        format_count(plan.params),
        _costs(plan),
        cell(word, style),
    ]


def _costs(plan: Plan) -> str:
    words = dict.fromkeys(_COST_WORDS[price] for price in plan.prices)
    unsafe = " (unsafe)" if plan.unsafe else ""
    return ", ".join(words) + unsafe if words else UNKNOWN


def _write_advice(page: Page, report: FixReport) -> None:
    if report.advice:
        page.heading("Outside the config")
    for advice in report.advice:
        page.line("  ", (advice.id, "bold"))
        page.paragraph(advice.title, indent=4)
        then = ""
        if advice.verdict not in (None, Verdict.NO_BUDGET):
            figures = [VERDICT_WORDS[advice.verdict][0]]
            if advice.high_bytes is not None:
                figures.append(f"{format_bytes(advice.high_bytes)} at most")
            if advice.reserved_bytes is not None:
                figures.append(f"{format_bytes(advice.reserved_bytes)} reserved")
            after = "after the edits" if report.chosen else "alone"
            then = f"{', '.join(figures)}, {after}"
        page.labelled([("how", advice.how), ("then", then)], indent=4, column=_LABEL_COLUMN)
