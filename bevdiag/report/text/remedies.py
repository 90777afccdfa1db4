"""Every remedy with what it was traced to cost and save."""

from collections.abc import Iterable

from bevdiag.prediction.result import Plan, Prediction
from bevdiag.report.amounts import format_bytes, format_count, format_difference
from bevdiag.report.text.prose import VERDICT_WORDS, Page, budget_name
from bevdiag.report.text.table import Row, cell

_COLUMNS = "remedy~ | peak> | difference> | at most>2 | reserved>3 | parameters> | BEV> | verdict"


def write_remedies(page: Page, report: Prediction) -> None:
    """Singles, then combinations; below each its changes and what it loses."""
    if not report.remedies:
        return
    page.heading("Remedies")
    remedies = singles_first(report.remedies)
    rows = [_row(remedy, report.peak.allocated_bytes) for remedy in remedies]
    last_single = sum(not remedy.combined for remedy in remedies) - 1
    for number, remedy in enumerate(page.rows(_COLUMNS, rows, remedies)):
        _write_details(page, remedy)
        if number == last_single < len(remedies) - 1:
            page.line()
            page.line("  ", ("combined", "dim"))
    page.note(
        "Each was applied to the config and traced again; peak: allocated; difference: to the "
        f"step as it is; BEV: channels of the BEV map. The verdict is for "
        f"{budget_name(report.target)}"
        + ("." if report.config.endswith(".py") else "; bevdiag fix writes the recommended one.")
    )


def singles_first(remedies: Iterable[Plan]) -> list[Plan]:
    """Single changes, then their combinations."""
    return sorted(remedies, key=lambda remedy: remedy.combined)


def _row(remedy: Plan, now_bytes: int) -> Row:
    peak = remedy.peak_allocated_bytes
    word, style = VERDICT_WORDS[remedy.verdict]
    return [
        cell(remedy.id, "bold"),
        format_bytes(peak),
        format_difference(None if peak is None else peak - now_bytes),
        format_bytes(remedy.high_bytes),
        format_bytes(remedy.reserved_bytes),
        format_count(remedy.params),
        format_count(remedy.bev_channels),
        cell("failed", "red") if remedy.error else cell(word, style),
    ]


def _write_details(page: Page, remedy: Plan) -> None:
    page.paragraph(remedy.title, indent=4)
    if not remedy.combined:  # members of a combination stand above with what they change and lose
        entries = [
            ("" if number else "changes", f"{key}: {value}")
            for number, (key, value) in enumerate(remedy.edits.items())
        ]
        entries += [("loses", remedy.loses), ("unsafe", "; ".join(remedy.unsafe))]
        entries += [("needs", "; ".join(remedy.needs))]
        page.labelled(entries, indent=4, column=9)
    if remedy.error:
        page.paragraph(f"could not be traced: {remedy.error}", indent=4, style="red")
