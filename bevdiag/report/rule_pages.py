"""The rules' pages, as text and as Markdown, and their list."""

import re

from bevdiag.report.text.prose import SEVERITY_STYLES, Page
from bevdiag.report.text.table import cell
from bevdiag.rules.pages import RulePage

_COLUMNS = "code | name | severity | confidence1 | what it is about~"


def write_rule(page: Page, rule: RulePage) -> None:
    """One rule's page."""
    row = rule.code
    severity = (row.severity.value, SEVERITY_STYLES[row.severity])
    page.line((f"{row.code} {row.name}", "bold"), "  ", severity, f", {row.confidence.value}")
    page.paragraph(rule.summary)
    for title, paragraphs in rule.parts.items():
        page.heading(title)
        for paragraph in paragraphs:
            page.paragraph(paragraph, indent=2)


def write_rules(page: Page, rules: tuple[RulePage, ...]) -> None:
    """All rules, one a row."""
    rows = [
        [
            rule.code.code,
            rule.code.name,
            cell(rule.code.severity.value, SEVERITY_STYLES[rule.code.severity]),
            rule.code.confidence.value,
            rule.summary,
        ]
        for rule in rules
    ]
    page.table(_COLUMNS, rows, indent=0)


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
