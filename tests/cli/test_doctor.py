"""`bevdiag doctor` as a user runs it."""

import json
from pathlib import Path

import pytest

from bevdiag.cli.main import run


@pytest.fixture
def freeze(tmp_path: Path) -> Path:
    path = tmp_path / "freeze.txt"
    path.write_text(
        "python==3.10\nnumpy==2.0.2\ntorch==2.7.1\nspconv-cu120==2.3.6\n", encoding="utf-8"
    )
    return path


def test_text_names_the_fault_and_the_command(
    freeze: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--requirements", str(freeze)]) == 1
    out = capsys.readouterr().out
    assert "a training will fail here: numpy 2.0.2 is there" in " ".join(out.split())
    assert '    $ python -m pip install "numpy<2"\n' in out
    assert "freeze.txt:2:1" in out


def test_json_has_the_same_for_programs(freeze: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--requirements", str(freeze), "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "bevdiag.doctor/1"
    assert document["torch_cuda"] == "12.6"
    assert document["packages"]["numpy"] == "2.0.2"
    (finding,) = document["findings"]
    assert (finding["code"], finding["severity"]) == ("BEV701", "error")
    assert finding["command"] == 'python -m pip install "numpy<2"'


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--requirements", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["--gpu", "rtx9999"], "rtx9999"),
        (["--format", "yaml"], "--format"),
    ],
)
def test_bad_usage_is_one_sentence(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert reason in captured.err
    assert captured.err.count("\n") == 1
