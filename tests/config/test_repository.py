from pathlib import Path

import pytest

from bevdiag.config.repository import package_of
from bevdiag.errors import InputError


def _file(root: Path, name: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True)
    file.touch()


def test_the_package_may_have_any_name(tmp_path: Path) -> None:
    _file(tmp_path, "ournet/models/detectors/__init__.py")
    assert package_of(tmp_path) == "ournet"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("below/pcdet/models/detectors/__init__.py", "give .*below"),
        ("mmdet3d/__init__.py", "mmdetection3d's kind.*--entry FILE.py:function"),
        ("det3d/__init__.py", "det3d's kind"),
        ("src/main.py", "has no package with models/detectors.*--entry FILE.py:function"),
    ],
)
def test_what_else_it_is_is_one_sentence(tmp_path: Path, name: str, said: str) -> None:
    _file(tmp_path, name)
    with pytest.raises(InputError, match=said):
        package_of(tmp_path)
