"""What the documents name is there: files, commands, options, rules."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer

from benchmarks.reference_pages import DOCS, FOLDERS, pages
from bevdiag.cli.main import app
from bevdiag.cli.reference import schemas
from bevdiag.rules.codes import CODES
from tests.documented import commands

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], key=lambda page: page.relative_to(ROOT)
)
_MADE_UP = ("what_it_is_about", "BEV1xx", "test_x")


@cache
def _options() -> dict[str, set[str]]:
    """Of every command and sub-command, its options."""
    found: dict[str, set[str]] = {}

    def collect(command: object, name: str) -> None:
        for sub, child in getattr(command, "commands", {}).items():
            collect(child, f"{name} {sub}".strip())
        if not getattr(command, "commands", None):
            found[name] = {
                text
                for param in command.params  # type: ignore[attr-defined]
                for text in (*param.opts, *param.secondary_opts)
            } | {"-h", "--help"}

    collect(typer.main.get_command(app), "")
    return found


def _commands(text: str) -> list[list[str]]:
    shown = [shown.command for shown in commands(text, "")]
    shown = [found[0] for line in shown if (found := re.search("bevdiag [a-z].*", line))]
    shown += re.findall(r"`(bevdiag [a-z][^`]*)`", text)
    found = []
    for line in shown:
        try:
            found.append(shlex.split(line, comments=True)[1:])
        except ValueError:  # a sentence with an apostrophe, that begins with our name
            continue
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    for words in _commands(page.read_text(encoding="utf-8")):
        if "--" in words:
            words = words[: words.index("--")]
        name = " ".join(words[:2]) if " ".join(words[:2]) in _options() else words[0]
        if name not in _options() and name in ("baseline", "scene"):
            continue
        assert name in _options(), words
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        unknown = given - _options()[name]
        assert not unknown, f"{page.name}: bevdiag {name} has no {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:bevdiag|tests|benchmarks|docs|configs)/[\w./-]+\w)`", text)
    linked = re.findall(r"\]\(([\w./-]+?)(?:#[\w-]+)?\)", text)
    for name in named:
        if not any(word in name for word in _MADE_UP):
            assert (ROOT / name).exists(), f"{page.name}: {name}"
    for name in linked:
        assert (page.parent / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_rules_that_are_named_exist(page: Path) -> None:
    for code in re.findall(r"\bBEV\d{3}\b", page.read_text(encoding="utf-8")):
        assert code in CODES, f"{page.name}: {code}"


def test_the_pages_that_the_code_has_are_todays() -> None:
    written = pages()
    stale = [
        name
        for name, text in written.items()
        if not (DOCS / name).exists() or (DOCS / name).read_text(encoding="utf-8") != text
    ]
    assert not stale, "make docs writes them anew"
    there = {f"{folder}/{path.name}" for folder in FOLDERS for path in (DOCS / folder).iterdir()}
    assert there == {name for name in written if "/" in name}


def test_formats_names_every_schema() -> None:
    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    for name in schemas():
        assert f"[{name}](schemas/{name.replace('/', '-')}.json)" in text
