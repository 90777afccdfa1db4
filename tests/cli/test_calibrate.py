"""`bevdiag calibrate` as a command: what it refuses, and what it writes."""

import json
from pathlib import Path

import pytest

from bevdiag.accuracy import calibration
from bevdiag.accuracy.calibration import GRID, Calibration, CalibrationOptions
from bevdiag.cli.main import run
from bevdiag.config.shipped import shipped_file
from bevdiag.memory.profiles import read_profile


def test_without_a_gpu_it_says_so_and_gives_no_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration.torch.cuda, "is_available", lambda: False)
    assert run(["calibrate"]) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.yaml"], "none.yaml: there is no such file"),
        (["--autocast", "fp8"], "--autocast: 'fp8' is not one of off, fp16, bf16"),
        (["-o", "."], "-o: . is a folder"),
    ],
)
def test_bad_usage_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["calibrate", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_it_writes_a_profile_and_says_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shipped_file(GRID)
    assert path is not None
    shipped = read_profile(path)
    asked: list[CalibrationOptions] = []

    def calibrate(options: CalibrationOptions, progress: object) -> Calibration:
        asked.append(options)
        return Calibration(shipped, left_out=2)

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    config = tmp_path / "model.yaml"
    config.touch()
    out = tmp_path / "profile.json"
    arguments = [str(config), "--batch-size", "1,2", "--autocast", "fp16", "-o", str(out)]
    assert run(["calibrate", *arguments, "--cudnn-benchmark"]) == 0
    assert asked == [
        CalibrationOptions(
            configs=(config,), batch_sizes=(1, 2), autocasts=("fp16",), cudnn_benchmark=True
        )
    ]
    assert json.loads(out.read_text(encoding="utf-8"))["gpu"]["name"] == "NVIDIA H200"
    said = capsys.readouterr().err
    assert said.startswith("NVIDIA H200, torch 2.11.0+cu130, cuDNN 9.19.0: ")
    assert said.endswith(" convolutions measured, 2 left out\n")
