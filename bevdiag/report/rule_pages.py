"""The rules' pages, as text and as Markdown, and their list."""

import re

from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import SEVERITY_STYLES, Page
from bevdiag.report.text.table import cell
from bevdiag.rules.pages import RulePage

_COLUMNS = "code | name | severity | confidence1 | what it is about~"


def render_rule(page: RulePage, layout: Layout) -> str:
    """One rule's page."""
    row, text = page.code, Page(layout)
    severity = (row.severity.value, SEVERITY_STYLES[row.severity])
    text.line((f"{row.code} {row.name}", "bold"), "  ", severity, f", {row.confidence.value}")
    text.paragraph(page.summary)
    for title, paragraphs in page.parts.items():
        text.heading(title)
        for paragraph in paragraphs:
            text.paragraph(paragraph, indent=2)
    return str(text)


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
    text = Page(layout)
    text.table(_COLUMNS, rows, indent=0)
    return str(text)


_LINK = re.compile(r"(\S+#\d+) \((https://[^)]+)\)")


def rule_markdown(page: RulePage) -> str:
    """One rule's page."""
    row = page.code
    lines = [
        f"# {row.code}: {row.name}",
        "",
        f"Severity {row.severity.value}, confidence {row.confidence.value}.",
        "",
        page.summary,
    ]
    for title, paragraphs in page.parts.items():
        lines += ["", f"## {title}"]
        for text in paragraphs:
            lines += ["", _LINK.sub(r"[\1](\2)", text)]
    return "\n".join(lines) + "\n"
