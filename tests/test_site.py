"""The docs site: it builds without a warning, its links lead somewhere, and it fetches nothing."""

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
ZENSICAL = Path(sys.executable).parent / "zensical"
_FETCHING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}

pytestmark = pytest.mark.skipif(not ZENSICAL.exists(), reason="needs the extra docs")


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: set[str] = set()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in _FETCHING and _FETCHING[tag] in given:
            self.fetched.add(given[_FETCHING[tag]])
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        self.ids.add(given.get("id", ""))
        self.classes |= set(given.get("class", "").split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    (folder / "bevdiag").symlink_to(ROOT / "bevdiag")
    ended = subprocess.run(
        [ZENSICAL, "build", "--clean", "--strict"],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_docs_is_there_and_in_the_navigation(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"{page.stem}.html" in front, page.name


def test_nothing_is_fetched_from_elsewhere(pages: dict[Path, _Page]) -> None:
    for path, page in pages.items():
        for target in page.fetched:
            assert not urlsplit(target).netloc, f"{path.name}: {target}"
        # What the theme would load a library for.
        assert page.classes.isdisjoint({"mermaid", "arithmatex"}), path.name


def test_every_link_leads_somewhere(pages: dict[Path, _Page]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":  # its links are the server's
            continue
        for link in page.links | page.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path.parent / unquote(parts.path) if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path.name}: {link}"
            if parts.fragment and target.resolve() in pages:
                found = pages[target.resolve()].ids
                assert unquote(parts.fragment) in found, f"{path.name}: {link}"


def test_the_python_reference_comes_from_the_docstrings(site: Path) -> None:
    text = (site / "python.html").read_text(encoding="utf-8")
    for part in ("bevdiag.api.predict", "model_or_config", "NoVerdictError", "to_json"):
        assert part in text
