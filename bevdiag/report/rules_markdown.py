"""The rules' pages as Markdown, for docs/rules/."""

import re
from pathlib import Path

from bevdiag.rules.pages import RulePage

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
        for paragraph in paragraphs:
            lines += ["", _LINK.sub(r"[\1](\2)", paragraph)]
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
