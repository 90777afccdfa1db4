"""Configs for the tests of this room: files in a temporary folder, or the shipped one, altered."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bevdiag.config.tree import Section
from bevdiag.config.yaml_tree import TreeBuilder
from bevdiag.errors import Location

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a file, with its folders, into a folder of the test's own."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def altered(write: Callable[[str, str], Path]) -> Callable[..., Path]:
    """Copies the shipped config with texts replaced; each must stand in it exactly once."""

    def altered(*replacements: tuple[str, str]) -> Path:
        text = (CONFIGS / "focalsst_dsvt.yaml").read_text(encoding="utf-8")
        for old, new in replacements:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the config"
            text = text.replace(old, new)
        dataset = "dataset_configs/sonar_dataset.yaml"
        write(dataset, (CONFIGS / dataset).read_text(encoding="utf-8"))
        return write("config.yaml", text)

    return altered


@pytest.fixture
def parse() -> Callable[[str], Section]:
    """The tree of a YAML text, as if it stood in c.yaml."""

    def parse(text: str) -> Section:
        root = TreeBuilder(text, Path("c.yaml"), ()).document()
        assert isinstance(root, Section)
        return root

    return parse


@pytest.fixture
def place() -> Callable[[Path, str], Location]:
    """Where a text stands in a file; it must stand there exactly once."""

    def place(path: Path, text: str) -> Location:
        whole = path.read_text(encoding="utf-8")
        assert whole.count(text) == 1
        before = whole[: whole.index(text)]
        return Location(path, before.count("\n") + 1, len(before) - before.rfind("\n"))

    return place
