"""`bevdiag init`: a policy to fill in, which no file is lost to."""

from pathlib import Path

import pytest

from bevdiag.cli.main import run
from bevdiag.files.known import forget
from bevdiag.policy import read_policy


def test_it_writes_a_policy_that_the_next_command_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--gpu", "4090"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "bevdiag preflight" in said.err
    forget()  # that this run has written it
    settings = read_policy(tmp_path / "bevdiag.toml").common.settings
    assert settings["gpu"].text == "rtx4090"


def test_what_is_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bevdiag.toml").write_text('gpu = "h200"\n')
    assert run(["init"]) == 2
    assert "bevdiag init -o -" in capsys.readouterr().err
    assert (tmp_path / "bevdiag.toml").read_text() == 'gpu = "h200"\n'
    assert run(["init", "-o", "-"]) == 0
    assert "# margin = " in capsys.readouterr().out


def test_an_unknown_gpu_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--gpu", "rtx49090"]) == 2
    assert not list(tmp_path.iterdir())
