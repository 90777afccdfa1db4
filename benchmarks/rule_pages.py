"""Writes docs/rules/ from the rules' docstrings: python benchmarks/rule_pages.py."""

from pathlib import Path

from bevdiag.report.rules_markdown import index_markdown, rule_markdown
from bevdiag.rules.codes import CODES
from bevdiag.rules.pages import rule_page

FOLDER = Path(__file__).parent.parent / "docs" / "rules"
CASES = Path(__file__).parent.parent / "tests" / "rules"


def example_of(code: str) -> Path | None:
    """The first of the rule's own test cases; None for a rule that looks at no file."""
    return min((CASES / code).glob("bad*"), default=None)


def main() -> None:
    """Replaces every page; the page of a code that is gone goes too."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    pages = tuple(rule_page(code) for code in CODES)
    texts = {
        f"{page.code.code}.md": rule_markdown(page, example_of(page.code.code)) for page in pages
    }
    texts["README.md"] = index_markdown(pages)
    for path in FOLDER.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
