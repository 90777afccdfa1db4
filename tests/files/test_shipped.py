from pathlib import Path

import pytest

import bevdiag
from bevdiag.errors import InputError
from bevdiag.files.shipped import SHIPPED_NAME, shipped_config


def _installed(root: Path, monkeypatch: pytest.MonkeyPatch, *configs: str) -> None:
    (root / "bevdiag").mkdir()
    for config in configs:
        path = root / config
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(bevdiag, "__file__", str(root / "bevdiag" / "__init__.py"))


def test_an_installed_package_holds_its_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed(tmp_path, monkeypatch, f"bevdiag/{SHIPPED_NAME}", SHIPPED_NAME)
    assert shipped_config() == tmp_path / "bevdiag" / SHIPPED_NAME


def test_a_checkout_holds_them_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed(tmp_path, monkeypatch, SHIPPED_NAME)
    assert shipped_config() == tmp_path / SHIPPED_NAME


def test_an_installation_without_them_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed(tmp_path, monkeypatch)
    with pytest.raises(InputError, match="name a config"):
        shipped_config()
