from pathlib import Path

import pytest

from bevdiag.errors import (
    BevdiagError,
    ConfigError,
    ExitCode,
    InputError,
    Location,
    NoVerdictError,
    OutputError,
    RepositoryError,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ConfigError, ExitCode.USAGE),
        (InputError, ExitCode.USAGE),
        (NoVerdictError, ExitCode.NO_VERDICT),
        (OutputError, ExitCode.NO_VERDICT),
        (RepositoryError, ExitCode.NO_VERDICT),
    ],
)
def test_each_error_leads_to_its_exit_code(kind: type[BevdiagError], code: ExitCode) -> None:
    assert kind("a sentence").exit_code is code


def test_a_fault_of_a_config_names_its_place_and_its_key() -> None:
    place = Location(Path("a.yaml"), 3, 5)
    assert str(ConfigError("no number")) == "no number"
    assert str(ConfigError("no number", key="MODEL.NAME")) == "MODEL.NAME: no number"
    assert str(ConfigError("no number", location=place, key="A")) == "a.yaml:3:5: A: no number"


def test_a_relative_file_stays_as_typed() -> None:
    location = Location(Path("../x/model.yaml"), 3, 1)
    assert location.shown() == location


def test_an_absolute_file_is_seen_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = Location(tmp_path / "configs" / "model.yaml", 3, 1)
    assert inside.shown() == Location(Path("configs/model.yaml"), 3, 1)


def test_a_file_elsewhere_keeps_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    elsewhere = Location(tmp_path / "model.yaml", 3, 1)
    assert elsewhere.shown() == elsewhere


def test_without_a_working_directory_a_file_keeps_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    location = Location(tmp_path / "model.yaml", 3, 1)
    assert location.shown() == location
