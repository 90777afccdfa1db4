"""The commands that README and the pages of docs/ show, each with the output shown below it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# docs/cli.md has typer's own synopses: `make docs` writes it, and tests/test_docs.py holds it.
PAGES = [
    *(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "cli.md"),
]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A command of a page.

    Attributes:
        page: its name, relative to the checkout.
        line: where it begins, from 1.
        command: without its prompt and its comment, lines that end in a backslash joined.
        output: what the page shows of what it prints, or nothing.
        variables: what the lines before it in the block export.
    """

    page: str
    line: int
    command: str
    output: str
    variables: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def commands(text: str, page: str) -> Iterator[Shown]:
    """Find the commands of a page's blocks: every line of `sh`, and what follows $ in `console`."""
    for block in _BLOCK.finditer(text):
        if block[1] not in ("sh", "console"):
            continue
        line = text.count("\n", 0, block.start()) + 2
        variables: tuple[tuple[str, str], ...] = ()
        parts = _split(block[2], prompted=block[1] == "console")
        for command, output, length in parts:
            written = re.sub(r"(^|\s+)#.*$", "", command)
            if written.startswith("export "):
                name, _, value = written.removeprefix("export ").partition("=")
                variables += ((name, value),)
            elif written:
                yield Shown(page, line, written, output, variables)
            line += length


def _split(block: str, *, prompted: bool) -> Iterator[tuple[str, str, int]]:
    """Each command, what follows it up to the next one, and the number of lines of both."""
    start = r"^\$ " if prompted else r"^(?=\S)"
    for part in re.split(start, block, flags=re.MULTILINE)[prompted:]:
        command = re.match(r"(?:.*\\\n)*.*\n?", part)
        assert command is not None
        joined = re.sub(r"\s*\\\n\s*", " ", command[0]).strip()
        yield joined, part[command.end() :], part.count("\n")


def all_commands() -> list[Shown]:
    """Return the commands of all pages, in the order of the pages."""
    return [
        shown
        for page in PAGES
        for shown in commands(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))
    ]
