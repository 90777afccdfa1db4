"""What a clone, a wheel and the tools around it are made of."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import SLOW

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_the_builds_hold_the_data_and_no_more(target: str) -> None:
    builder = pytest.importorskip(f"hatchling.builders.{target}")
    name = {"wheel": "WheelBuilder", "sdist": "SdistBuilder"}[target]
    built = getattr(builder, name)(str(ROOT))
    files = {file.distribution_path for file in built.recurse_included_files()}
    data = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bevdiag").rglob("*")
        if path.suffix in (".json", ".npz", ".html", ".css", ".js", ".typed")
    }
    assert len(data) > 10
    assert data <= files
    configs = "bevdiag/configs" if target == "wheel" else "configs"
    assert f"{configs}/focalsst_dsvt.yaml" in files
    assert any(re.match(rf"{configs}/devices/h200-.*\.json", name) for name in files)
    tests = {name for name in files if name.startswith("tests/")}
    if target == "wheel":
        assert not tests
        assert {name.split("/")[0] for name in files} == {"bevdiag"}
    else:
        assert {"tests/data/small.yaml", "benchmarks/reference_pages.py", "mkdocs.yml"} <= files
    assert not [name for name in files if "__pycache__" in name or name.startswith("site/")]


def test_what_the_source_archive_names_is_there() -> None:
    for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        assert (ROOT / name.lstrip("/")).exists(), name


def test_the_hooks_run_programs_of_the_development_extra() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    extra = " ".join(PROJECT["project"]["optional-dependencies"]["dev"])
    for hook in (hook for repo in config["repos"] for hook in repo["hooks"]):
        program, *arguments = shlex.split(hook["entry"])
        name = program.removeprefix(".venv/bin/")
        assert (
            name in ("python", "bevdiag") or name.replace("lint-imports", "import-linter") in extra
        )
        for file in (word for word in arguments if word.endswith(".py")):
            assert (ROOT / file).exists()


@pytest.mark.parametrize("name", SLOW)
def test_what_is_marked_slow_is_there(name: str) -> None:
    assert (ROOT / "tests" / name).exists()
