from pathlib import Path

import pytest

from bevdiag.errors import Location
from bevdiag.report.locations import module_or_phase, shown_location


def test_a_relative_file_stays_as_typed() -> None:
    location = Location(Path("../x/model.yaml"), 3, 1)
    assert shown_location(location) == location


def test_an_absolute_file_is_seen_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = Location(tmp_path / "configs" / "model.yaml", 3, 1)
    assert shown_location(inside) == Location(Path("configs/model.yaml"), 3, 1)


def test_a_file_elsewhere_keeps_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    elsewhere = Location(tmp_path / "model.yaml", 3, 1)
    assert shown_location(elsewhere) == elsewhere


def test_without_a_working_directory_a_file_keeps_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    location = Location(tmp_path / "model.yaml", 3, 1)
    assert shown_location(location) == location


@pytest.mark.parametrize(
    ("module", "phase", "words"),
    [
        ("backbone_2d", "forward", "backbone_2d"),
        ("", "forward", "the loss"),
        ("", "backward", "the backward pass of the loss"),
        ("", "optimizer", "the optimizer"),
    ],
)
def test_an_operation_outside_modules_is_named_by_its_part_of_the_step(
    module: str, phase: str, words: str
) -> None:
    assert module_or_phase(module, phase) == words
