"""Which dialect runs a repository, and that nothing else knows the names of these families."""

import re
from pathlib import Path

import pytest

import bevdiag
from bevdiag.source.dialects import dialect_of
from bevdiag.source.dialects.mmcv1.dialect import Mmcv1
from bevdiag.source.dialects.mmengine.dialect import MMEngine

_NAMES = re.compile(r"mmdet|mmengine|mmcv|det3d|openmmlab", re.IGNORECASE)
_PACKAGE = Path(bevdiag.__file__).parent
_KNOW_THEM = (
    "config/around.py",  # says what a folder is
    "source/dialects/",
    "source/stubs/mmcv.py",
    "source/stubs/mmcv_convs.py",
)
_MAY = ("rules/", "report/", "explain/", "environment/", "doctor/")
"""Rules and explanations cite threads of these projects, the doctor their versions."""


@pytest.mark.parametrize("config", ["configs/a.py", "projects/plugin/configs/a.py"])
def test_a_python_config_is_of_mmengine(tmp_path: Path, config: str) -> None:
    (tmp_path / "mmdet3d" / "models" / "data_preprocessors").mkdir(parents=True)
    assert isinstance(dialect_of(tmp_path, tmp_path / config, ()), MMEngine)


def test_an_older_package_makes_it_mmcvs(tmp_path: Path) -> None:
    (tmp_path / "mmdet3d" / "models").mkdir(parents=True)
    assert isinstance(dialect_of(tmp_path, tmp_path / "configs" / "a.py", ()), Mmcv1)


def test_the_core_names_none_of_these_families() -> None:
    named = [
        f"{name}:{number}: {line.strip()}"
        for file in sorted(_PACKAGE.rglob("*.py"))
        if not (name := str(file.relative_to(_PACKAGE))).startswith((*_KNOW_THEM, *_MAY))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if _NAMES.search(line)
    ]
    assert not named
