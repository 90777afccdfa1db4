"""Folders, patterns and stdin where configs are named."""

import os
from pathlib import Path

import pytest

from bevdiag.cli.main import run
from bevdiag.config.found import config_files
from bevdiag.errors import InputError

SMALL = Path(__file__).parents[1] / "rules" / "pointpillar.yaml"


@pytest.fixture
def cfgs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("kitti/b.yaml", "kitti/a.yml", "waymo/c.yaml"):
        path = Path("cfgs") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("CLASS_NAMES: [Car]\nMODEL:\n  NAME: X\n")
    Path("cfgs/dataset_configs").mkdir()
    Path("cfgs/dataset_configs/kitti.yaml").write_text("MODEL: not of a detector\n")
    Path("cfgs/notes.yaml").write_text("answers: {MODEL: no key of its own line}\n")
    Path("cfgs/kitti/readme.md").write_text("MODEL:\n")
    return Path("cfgs")


def test_of_a_folder_the_configs_of_detectors(cfgs: Path) -> None:
    found = [path.as_posix() for path in config_files([cfgs])]
    assert found == ["cfgs/kitti/a.yml", "cfgs/kitti/b.yaml", "cfgs/waymo/c.yaml"]


def test_a_pattern_reaches_over_folders_and_none_comes_twice(cfgs: Path, tmp_path: Path) -> None:
    named = [Path("cfgs/waymo/c.yaml"), Path("cfgs/**/*.yaml"), Path("cfgs/waymo/c.yaml")]
    found = [path.name for path in config_files(named)]
    assert found[0] == "c.yaml"
    assert sorted(found) == ["b.yaml", "c.yaml", "kitti.yaml", "notes.yaml"]
    assert config_files([tmp_path / "cfgs/kitti/[ab].y*"]) == [
        tmp_path / "cfgs/kitti/a.yml",
        tmp_path / "cfgs/kitti/b.yaml",
    ]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(cfgs: Path) -> None:
    path = cfgs / "kitti" / "[b].yaml"
    path.write_text("MODEL: {}\n")
    assert config_files([path]) == [path]


def test_a_folder_without_a_config_is_refused(cfgs: Path) -> None:
    with pytest.raises(InputError, match="no config of a detector"):
        config_files([cfgs / "dataset_configs"])


def test_a_pattern_that_matches_nothing_is_no_file(
    cfgs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "cfgs/*.txt"]) == 2
    assert "there is no such file" in capsys.readouterr().out


def _from_stdin(data: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "stdin"
    path.write_bytes(data)
    stream = path.open("rb")
    monkeypatch.setattr("sys.stdin", os.fdopen(os.dup(stream.fileno())))


def test_a_config_comes_from_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _from_stdin(SMALL.read_bytes(), monkeypatch, tmp_path)
    assert run(["check", "-"]) == 0
    assert "Configs: 1 without errors" in capsys.readouterr().out
    _from_stdin(b"MODEL: [\n", monkeypatch, tmp_path)
    assert run(["check", "-"]) == 2
    assert "-:2:1" in capsys.readouterr().out


def test_with_a_repository_stdin_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _from_stdin(SMALL.read_bytes(), monkeypatch, tmp_path)
    assert run(["preflight", "-", "--source", str(tmp_path), "--gpu", "rtx4090"]) == 2
    assert "no config from -" in capsys.readouterr().err
