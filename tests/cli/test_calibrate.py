"""`bevdiag calibrate` as a command: what it refuses, and what it writes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.accuracy import calibration
from bevdiag.accuracy.calibration import GRID, Calibration, CalibrationOptions
from bevdiag.cli.main import run
from bevdiag.files.shipped import shipped_file
from bevdiag.memory.profiles import DeviceProfile, read_profile


def test_without_a_gpu_it_says_so_and_gives_no_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration.torch.cuda, "is_available", lambda: False)
    assert run(["calibrate"]) == 3
    (error,) = capsys.readouterr().err.splitlines()
    assert "no usable CUDA device" in error
    assert error.endswith("; next: bevdiag doctor")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.yaml"], "none.yaml: there is no such file"),
        (["--autocast", "fp8"], "--autocast: 'fp8' is not one of off, fp16, bf16"),
        (["-o", "."], "-o: . is a folder"),
        (["--batch-size", "2"], "--batch-size: says how a model is measured"),
        (["--cudnn-benchmark"], "--cudnn-benchmark: says how a model is measured"),
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

    def calibrate(options: CalibrationOptions, progress: object, keep: object) -> Calibration:
        asked.append(options)
        return Calibration(shipped, left_out=2, crashes=("the wgrad of x: it died",))

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
    assert said.startswith(
        "skipped the wgrad of x: it died\nNVIDIA H200, torch 2.11.0+cu130, cuDNN 9.19.0: "
    )
    assert said.endswith(" convolutions measured, 2 left out\n")


def test_a_file_that_an_earlier_run_began_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shipped_file(GRID)
    assert path is not None
    out = tmp_path / "profile.json"
    out.write_bytes(path.read_bytes())
    before = read_profile(out)
    part = replace(before, workspaces=dict(list(before.workspaces.items())[:7]))

    def calibrate(
        options: CalibrationOptions, progress: object, keep: Callable[[DeviceProfile], None]
    ) -> Calibration:
        assert options.known is not None
        assert options.known.workspaces == before.workspaces
        keep(part)
        assert read_profile(out).workspaces == part.workspaces
        return Calibration(part, left_out=0)

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    assert run(["calibrate", "-o", str(out)]) == 0


def test_a_file_that_is_no_profile_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "notes.json"
    out.write_text("{}", encoding="utf-8")
    assert run(["calibrate", "-o", str(out)]) == 2
    assert "expected a device profile" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "{}"
