"""Every remedy with what it was traced to cost and save."""

from collections.abc import Iterable

from rich.text import Text

from bevdiag.prediction.result import Plan, Prediction
from bevdiag.report.amounts import (
    bytes_if_known,
    count_if_known,
    difference_if_known,
)
from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import VERDICT_WORDS, budget_name, heading, labelled_lines, paragraph
from bevdiag.report.text.table import Row, cell, columns, lay_out

_COLUMNS = columns(
    "remedy~ | peak> | difference> | at most>2 | reserved>3 | parameters> | BEV> | verdict"
)


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


def _row(remedy: Plan, now_bytes: int) -> Row:
    peak = remedy.peak_allocated_bytes
    word, style = VERDICT_WORDS[remedy.verdict]
    return [
        cell(remedy.id, "bold"),
        bytes_if_known(peak),
        difference_if_known(None if peak is None else peak - now_bytes),
        bytes_if_known(remedy.high_bytes),
        bytes_if_known(remedy.reserved_bytes),
        count_if_known(remedy.params),
        count_if_known(remedy.bev_channels),
        cell("failed", "red") if remedy.error else cell(word, style),
    ]


def _detail_lines(remedy: Plan, layout: Layout) -> list[Text]:
    lines = paragraph(remedy.title, layout, indent=4)
    if remedy.combined:  # its members stand above with what they change and lose
        return lines + _error_lines(remedy, layout)
    entries = [
        ("" if number else "changes", f"{key}: {value}")
        for number, (key, value) in enumerate(remedy.edits.items())
    ]
    entries += [("loses", remedy.loses), ("unsafe", "; ".join(remedy.unsafe))]
    entries += [("needs", "; ".join(remedy.needs))]
    lines += labelled_lines(entries, layout, indent=4, column=9)
    return lines + _error_lines(remedy, layout)


def _error_lines(remedy: Plan, layout: Layout) -> list[Text]:
    if not remedy.error:
        return []
    return paragraph(f"could not be traced: {remedy.error}", layout, indent=4, style="red")
