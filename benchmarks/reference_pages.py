"""Write the pages of docs/ that the code itself has: rules, schemas and the command line.

    python benchmarks/reference_pages.py

`make docs` runs it; tests/test_docs.py holds that what is checked in is what it writes.
"""

from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from bevdiag.cli.main import app
from bevdiag.cli.reference import schema_text, schemas
from bevdiag.report.rule_pages import rule_markdown
from bevdiag.rules.codes import CODES
from bevdiag.rules.pages import RulePage, rule_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CASES = ROOT / "tests" / "rules"
FOLDERS = ("rules", "schemas")
"""Below docs/: nothing else may lie in them."""


def pages() -> dict[str, str]:
    """Every page by its path below docs/."""
    rules = tuple(rule_page(code) for code in CODES)
    texts = {
        f"rules/{page.code.code}.md": rule_markdown(page) + example_of(page.code.code)
        for page in rules
    }
    texts["rules/README.md"] = index_markdown(rules)
    texts |= {f"schemas/{name.replace('/', '-')}.json": schema_text(name) for name in schemas()}
    texts["cli.md"] = command_line()
    return texts


def example_of(code: str) -> str:
    """Return the first of the rule's own test cases; nothing for a rule that looks at no file."""
    example = min((CASES / code).glob("bad*"), default=None)
    if example is None:
        return ""
    text = example.read_text(encoding="utf-8").rstrip("\n")
    kind = {".yaml": "yaml", ".json": "json", ".sh": "sh"}.get(example.suffix, "")
    return f"\n## An example that has it\n\n```{kind}\n{text}\n```\n"


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


def command_line() -> str:
    """Every command with its options, as `--help` says them."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(
        obj=command, ctx=typer.Context(command), name="bevdiag", title="Command line"
    )
    return text.rstrip("\n") + "\n"


def main() -> None:
    """Write every page; of rules and schemas that are gone, the files go too."""
    texts = pages()
    for folder in FOLDERS:
        for path in (DOCS / folder).iterdir():
            if f"{folder}/{path.name}" not in texts:
                path.unlink()
    for name, text in texts.items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
