"""The rules' pages and their list, as text and as Markdown for docs/rules/."""

import re
from pathlib import Path

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


def rule_markdown(page: RulePage, example: Path | None = None) -> str:
    """One rule's page, with a file that has the fault, if there is one."""
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
    if example is not None:
        text = example.read_text(encoding="utf-8").rstrip("\n")
        kind = {".yaml": "yaml", ".json": "json", ".sh": "sh"}.get(example.suffix, "")
        lines += ["", "## An example that has it", "", f"```{kind}", text, "```"]
    return "\n".join(lines) + "\n"


def index_markdown(pages: tuple[RulePage, ...]) -> str:
    """Write the list of all rules."""
    lines = [
        "# Rules",
        "",
        "Every finding has a stable code. `bevdiag rule CODE` prints the same pages; a comment",
        "`# bevdiag: ignore[CODE] reason` on the blamed line, or alone on the line above, silences",
        "one. Written by `make docs` from the rules' docstrings.",
        "",
        "| code | name | severity | confidence | what it is about |",
        "|---|---|---|---|---|",
    ]
    for page in pages:
        row = page.code
        lines.append(
            f"| [{row.code}]({row.code}.md) | {row.name} | {row.severity.value} "
            f"| {row.confidence.value} | {page.summary} |"
        )
    return "\n".join(lines) + "\n"
