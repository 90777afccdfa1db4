from pathlib import Path

import pytest

from bevdiag.trace import places


def test_without_a_repository_any_code_but_pytorch_s_and_bevdiag_s_is_the_user_s() -> None:
    assert places.user_place().startswith("tests/trace/test_places.py:")


def test_in_a_repository_only_its_own_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_roots", [])
    places.set_root(tmp_path)
    assert places.user_place() == "the repository"
    assert places.user_place(otherwise="head") == "head"
    assert places.relative_file(str(tmp_path / "pcdet" / "a.py")) == "pcdet/a.py"
    assert places.relative_file(__file__) is None


def test_whoever_runs_the_step_is_not_part_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_STEPS", (__file__,))
    assert places.user_place(otherwise="head.conv") == "head.conv"
