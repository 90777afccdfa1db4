"""`bevdiag fix` as text."""

from collections.abc import Sequence

from rich.text import Text

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Plan
from bevdiag.remedies.results import FixReport
from bevdiag.report.amounts import (
    UNKNOWN,
    bytes_if_known,
    count_if_known,
    format_error,
    format_flops,
)
from bevdiag.report.layout import Layout
from bevdiag.report.printable import printable
from bevdiag.report.text.assumed import setting_lines
from bevdiag.report.text.prose import (
    VERDICT_WORDS,
    budget_name,
    heading,
    labelled_lines,
    paragraph,
    render_lines,
)
from bevdiag.report.text.table import Row, cell, columns, lay_out

_COST_WORDS = ("nothing", "time", "precision", "model", "input")
_COLUMNS = columns("changes~ | peak> | at most> | compute> | parameters>1 | costs~ | verdict")
_LABEL_COLUMN = 9


def outcome(report: FixReport) -> str:
    """Say what came of it, in a few sentences."""
    where = budget_name(report.target)
    chosen = report.chosen
    if report.base.fits and chosen is None:
        return f"{report.config} fits {where} as it is: nothing to change."
    if chosen is None:
        return _without_a_way_out(report, where)
    peak, high = map(bytes_if_known, (chosen.peak_allocated_bytes, chosen.high_bytes))
    changes = chosen.id or "the edits below"
    if report.target.capacity_bytes is None:
        text = f"With {changes} {report.config} runs: a peak of {peak}, {high} at most."
    else:
        text = f"With {changes} {report.config} fits {where}: a peak of {peak}, {high} at most."
    if report.refusal:
        return f"{text} Not written: {report.refusal}."
    return f"{text} Written, read again and inspected again." if report.written else text


def render_fix(report: FixReport, layout: Layout) -> str:
    """Outcome first, then the edits, the frontier, every change alone, and advice."""
    lines = paragraph(outcome(report), layout, style="bold")
    if report.chosen is not None:
        lines += _edit_lines(report, report.chosen, layout)
    if report.frontier:
        lines += _frontier_lines(report, layout)
    if report.singles:
        lines += _tried_lines(report, layout)
    lines += _advice_lines(report, layout)
    lines += setting_lines(report.target, report.scene, layout)
    return render_lines(lines, layout)


def _without_a_way_out(report: FixReport, where: str) -> str:
    traced = [*report.singles, *report.combined]
    taking_part = [o for o in traced if not o.error and (report.unsafe_allowed or not o.unsafe)]
    text = f"No set of changes that was traced, of {len(taking_part)}, fits {where}."
    if taking_part:
        least = min(taking_part, key=lambda plan: plan.high_bytes or 0)
        text += f" The least is left by {least.id}: {bytes_if_known(least.high_bytes)} at most."
    if not report.unsafe_allowed:
        text += " Changes that throw input away or move the grid took no part: --unsafe lets them."
    return text


def _edit_lines(report: FixReport, chosen: Plan, layout: Layout) -> list[Text]:
    lines = heading("Edits", layout)
    for change in chosen.changes:
        lines += [Text.assemble("  ", (change.id, "bold"))]
        lines += paragraph(change.title, layout, indent=4)
        parts = [("loses", change.loses), ("unsafe", change.unsafe), ("needs", change.needs)]
        lines += labelled_lines(parts, layout, indent=4, column=_LABEL_COLUMN)
    lines.append(Text())
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in report.diff.splitlines():
        # To be copied: a line of a diff is never folded.
        lines.append(Text.assemble("  ", (printable(line), styles.get(line[:1], ""))))
    return lines


def _frontier_lines(report: FixReport, layout: Layout) -> list[Text]:
    lines = heading("Memory against cost", layout)
    lines += _table(report.frontier, report.base, layout)
    note = (
        "What no other traced set beats in both, the cheapest first. Sets are compared by the "
        "dearest of their changes, then by the next, then by compute."
    )
    return lines + paragraph(note, layout, indent=2, style="dim")


def _tried_lines(report: FixReport, layout: Layout) -> list[Text]:
    lines = heading("Traced", layout)
    # A change that leaves no config that runs is nobody's choice.
    singles, combined = (
        tuple(plan for plan in plans if not plan.error)
        for plans in (report.singles, report.combined)
    )
    lines += _table(singles, report.base, layout, titles=True)
    if combined:
        lines += [Text(), *_table(combined, report.base, layout)]
    note = (
        "Each was applied to the config and traced again; peak: allocated; compute: "
        "floating point operations of a step, per sample, "
        f"{format_flops(report.base.flops or 0)} now."
    )
    return lines + paragraph(note, layout, indent=2, style="dim")


def _table(
    plans: Sequence[Plan], base: Plan, layout: Layout, *, titles: bool = False
) -> list[Text]:
    table = lay_out(_COLUMNS, [_row(plan, base) for plan in plans], layout.width, indent=2)
    return table.lines(_single_lines(plan, layout) for plan in plans if titles)


def _single_lines(plan: Plan, layout: Layout) -> list[Text]:
    lines = paragraph(plan.changes[0].title, layout, indent=4, style="dim")
    if plan.needs:
        lines += paragraph(f"needs {plan.changes[0].needs}", layout, indent=4, style="dim")
    return lines


def _row(plan: Plan, base: Plan) -> Row:
    word, style = VERDICT_WORDS[plan.verdict]
    return [
        cell(plan.id.replace("+", " + ") or "as it is", "bold"),
        bytes_if_known(plan.peak_allocated_bytes),
        bytes_if_known(plan.high_bytes),
        UNKNOWN if plan.flops is None else format_error(plan.flops, base.flops or 0),
        count_if_known(plan.params),
        _costs(plan),
        cell(word, style),
    ]


def _costs(plan: Plan) -> str:
    words = dict.fromkeys(_COST_WORDS[price] for price in plan.prices)
    unsafe = " (unsafe)" if plan.unsafe else ""
    return ", ".join(words) + unsafe if words else UNKNOWN


def _advice_lines(report: FixReport, layout: Layout) -> list[Text]:
    if not report.advice:
        return []
    lines = heading("Outside the config", layout)
    for advice in report.advice:
        lines += [Text.assemble("  ", (advice.id, "bold"))]
        lines += paragraph(advice.title, layout, indent=4)
        then = ""
        if advice.verdict not in (None, Verdict.NO_BUDGET):
            figures = [VERDICT_WORDS[advice.verdict][0]]
            if advice.high_bytes is not None:
                figures.append(f"{bytes_if_known(advice.high_bytes)} at most")
            if advice.reserved_bytes is not None:
                figures.append(f"{bytes_if_known(advice.reserved_bytes)} reserved")
            after = "after the edits" if report.chosen else "alone"
            then = f"{', '.join(figures)}, {after}"
        entries = [("how", advice.how), ("then", then)]
        lines += labelled_lines(entries, layout, indent=4, column=_LABEL_COLUMN)
    return lines
