"""The rules' pages and their list, as text."""

from rich.text import Text

from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import SEVERITY_STYLES, heading, paragraph, render_lines
from bevdiag.report.text.table import cell, columns, lay_out
from bevdiag.rules.pages import RulePage

_COLUMNS = columns("code | name | severity | confidence1 | what it is about~")


def render_rule(page: RulePage, layout: Layout) -> str:
    """One rule's page."""
    row = page.code
    style = SEVERITY_STYLES[row.severity]
    lines = [
        Text.assemble(
            (f"{row.code} {row.name}", "bold"),
            "  ",
            (row.severity.value, style),
            f", {row.confidence.value}",
        ),
        *paragraph(page.summary, layout),
    ]
    for title, paragraphs in page.parts.items():
        lines += heading(title, layout)
        for text in paragraphs:
            lines += paragraph(text, layout, indent=2)
    return render_lines(lines, layout)


def render_rules(pages: tuple[RulePage, ...], layout: Layout) -> str:
    """All rules, one a row."""
    rows = [
        [
            page.code.code,
            page.code.name,
            cell(page.code.severity.value, SEVERITY_STYLES[page.code.severity]),
            page.code.confidence.value,
            page.summary,
        ]
        for page in pages
    ]
    table = lay_out(_COLUMNS, rows, layout.width)
    return render_lines(table.lines(), layout)
