"""Which calls are measured, what is made of the child's reports, and how it can fail."""

from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from bevdiag.config.shipped import shipped_file
from bevdiag.diagnose import calibration
from bevdiag.diagnose.calibration import GRID, CalibrationOptions, calibrate, calls_of
from bevdiag.errors import NoVerdictError
from bevdiag.memory.profiles import BenchmarkBytes, DeviceProfile, profile_text, read_profile
from bevdiag.trace.calibrate import CalibrationReport, CalibrationTask

SMALL = Path(__file__).parent / "data" / "small.yaml"


def _quiet(what: str, share: float) -> None:
    assert what
    assert 0 <= share <= 1


@pytest.fixture(scope="module")
def shipped() -> DeviceProfile:
    path = shipped_file(GRID)
    assert path is not None
    return read_profile(path)


@pytest.fixture
def few(shipped: DeviceProfile, tmp_path: Path) -> Path:
    """A profile of two calls, one of them measured in benchmark mode too."""
    timed = next(iter(shipped.benchmarked))
    other = next(call for call in shipped.workspaces if call not in shipped.benchmarked)
    small = replace(
        shipped,
        workspaces=dict.fromkeys((timed, other), 1),
        benchmarked={timed: BenchmarkBytes(2, 1)},
    )
    path = tmp_path / "few.json"
    path.write_text(profile_text(small), encoding="utf-8")
    return path


class _Child:
    """Runs the stand-in for the measuring function at once, in this process."""

    exitcode = 0

    def __init__(self, target: Any, args: tuple[CalibrationTask, Connection]) -> None:
        self._args = args
        self._target = target

    def start(self) -> None:
        self._target(*self._args)

    def join(self) -> None: ...


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> type[_Child]:
    """A GPU that is there, and a child that needs none."""
    context = calibration.multiprocessing.get_context("spawn")
    monkeypatch.setattr(type(context), "Process", _Child)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return _Child


def test_without_a_gpu_there_is_nothing_to_measure() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(NoVerdictError, match=r"no usable CUDA device.*--profile"):
        calibrate(CalibrationOptions(), _quiet)


def test_the_calls_of_a_model_are_those_of_its_step() -> None:
    options = CalibrationOptions(configs=(SMALL,), batch_sizes=(1,), autocasts=("bf16",))
    calls = calls_of(options, _quiet)
    assert {call.direction for call in calls} == {"forward", "dgrad", "wgrad"}
    assert {call.dtype for call in calls} == {"bfloat16"}
    assert {call.input_shape[0] for call in calls} == {1}


def test_each_mode_is_measured_in_a_child_of_its_own(
    few: Path, shipped: DeviceProfile, child: type[_Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[CalibrationTask] = []

    def measure(task: CalibrationTask, pipe: Connection) -> None:
        tasks.append(task)
        pipe.send(CalibrationReport(0))
        if task.cudnn_benchmark:
            seen = {call: BenchmarkBytes(9, 7) for call in task.calls}
            pipe.send(CalibrationReport(1, is_last=True, benchmarked=seen))
        else:
            known = replace(shipped, workspaces={task.calls[0]: 5}, benchmarked={})
            pipe.send(CalibrationReport(2, is_last=True, profile=known))
        pipe.close()

    monkeypatch.setattr(calibration, "run_child", measure)
    done = calibrate(CalibrationOptions(calls=few), _quiet)
    plain, timed = tasks
    assert (plain.cudnn_benchmark, timed.cudnn_benchmark) == (False, True)
    assert len(plain.calls) == 2
    assert done.profile.workspaces == {plain.calls[0]: 5}
    assert done.profile.benchmarked == {timed.calls[0]: BenchmarkBytes(9, 7)}
    assert done.left_out == 1


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        ("RuntimeError: no kernel", 0, "stopped with RuntimeError: no kernel, after 1 of 2"),
        (None, -9, "died of signal 9, after 1 of 2"),
        (None, 1, "ended with exit code 1, after 1 of 2"),
    ],
)
def test_a_child_that_fails_leaves_no_profile(
    few: Path,
    child: type[_Child],
    monkeypatch: pytest.MonkeyPatch,
    error: str | None,
    exit_code: int,
    said: str,
) -> None:
    def measure(task: CalibrationTask, pipe: Connection) -> None:
        pipe.send(CalibrationReport(1, is_last=error is not None, error=error))
        pipe.close()

    monkeypatch.setattr(calibration, "run_child", measure)
    monkeypatch.setattr(child, "exitcode", exit_code)
    with pytest.raises(NoVerdictError, match=f"the measuring process {said} convolutions"):
        calibrate(CalibrationOptions(calls=few), _quiet)
