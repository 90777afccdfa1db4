"""Every remedy with what it was traced to cost and save."""

from collections.abc import Iterable

from rich.text import Text

from bevdiag.prediction.plan import Plan
from bevdiag.prediction.result import Prediction
from bevdiag.report.amounts import (
    bytes_if_known,
    count_if_known,
    difference_if_known,
)
from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import VERDICT_WORDS, budget_name, heading, labelled, paragraph
from bevdiag.report.text.table import Column, cell, lay_out

_COLUMNS = [
    Column("remedy", folds=True),
    Column("peak", right=True),
    Column("difference", right=True),
    Column("at most", right=True, spare=2),
    Column("reserved", right=True, spare=3),
    Column("parameters", right=True),
    Column("BEV", right=True),
    Column("verdict"),
]


def remedy_lines(report: Prediction, layout: Layout) -> list[Text]:
    """Singles, then combinations; below each its changes and what it loses."""
    if not report.remedies:
        return []
    remedies = singles_first(report.remedies)
    rows = [_row(remedy, report.peak.allocated_bytes) for remedy in remedies]
    table = lay_out(_COLUMNS, rows, layout.width, indent=2)
    lines = [*heading("Remedies", layout), table.header]
    singles = [remedy for remedy in remedies if not remedy.combined]
    for number, (remedy, row) in enumerate(zip(remedies, table.rows, strict=True)):
        if remedy.combined and number == len(singles):
            lines += [Text(), Text.assemble("  ", ("combined", "dim"))]
        lines += [*row, *_detail_lines(remedy, layout)]
    note = (
        "Each was applied to the config and traced again; peak: allocated; difference: to the "
        f"step as it is; BEV: channels of the BEV map. The verdict is for "
        f"{budget_name(report.target)}; bevdiag fix writes the recommended one."
    )
    return lines + paragraph(note, layout, indent=2, style="dim")


def singles_first(remedies: Iterable[Plan]) -> list[Plan]:
    """Single changes, then their combinations."""
    return sorted(remedies, key=lambda remedy: remedy.combined)


def _row(remedy: Plan, now_bytes: int) -> list[Text]:
    peak = remedy.peak_allocated_bytes
    word, style = VERDICT_WORDS[remedy.verdict]
    return [
        cell(remedy.id, "bold"),
        cell(bytes_if_known(peak)),
        cell(difference_if_known(None if peak is None else peak - now_bytes)),
        cell(bytes_if_known(remedy.high_bytes)),
        cell(bytes_if_known(remedy.reserved_bytes)),
        cell(count_if_known(remedy.params)),
        cell(count_if_known(remedy.bev_channels)),
        cell("failed", "red") if remedy.error else cell(word, style),
    ]


def _detail_lines(remedy: Plan, layout: Layout) -> list[Text]:
    lines = paragraph(remedy.title, layout, indent=4)
    if remedy.combined:  # its members stand above with what they change and lose
        return lines + _error_lines(remedy, layout)
    for number, (key, value) in enumerate(remedy.edits.items()):
        edit = f"{key}: {value}"
        lines += labelled("" if number else "changes", edit, layout, indent=4, column=9)
    for label, text in (
        ("loses", remedy.loses),
        ("unsafe", "; ".join(remedy.unsafe)),
        ("needs", "; ".join(remedy.needs)),
    ):
        if text:
            lines += labelled(label, text, layout, indent=4, column=9)
    return lines + _error_lines(remedy, layout)


def _error_lines(remedy: Plan, layout: Layout) -> list[Text]:
    if not remedy.error:
        return []
    return paragraph(f"could not be traced: {remedy.error}", layout, indent=4, style="red")
