"""Which calls are measured, what is made of the child's reports, and how it can fail."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bevdiag.accuracy import calibration
from bevdiag.accuracy.calibration import GRID, CalibrationOptions, calibrate, calls_of
from bevdiag.children import ChildError, Tell
from bevdiag.config.shipped import shipped_file
from bevdiag.errors import NoVerdictError
from bevdiag.memory.profiles import BenchmarkBytes, DeviceProfile, profile_text, read_profile
from bevdiag.trace.calibrate import CalibrationReport, CalibrationTask, run_child

Measure = Callable[[CalibrationTask, Tell], CalibrationReport]
SMALL = Path(__file__).parents[1] / "data" / "small.yaml"


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


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[[Measure], None]:
    """A GPU that is there, and a measuring function that needs none, run in this process."""

    def here(function: Measure, task: CalibrationTask, *, told: Any, **_: Any) -> CalibrationReport:
        return function(task, told)

    def measure_with(measure: Measure) -> None:
        monkeypatch.setattr(calibration, "run_child", measure)

    monkeypatch.setattr(calibration, "in_child", here)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return measure_with


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
    few: Path, shipped: DeviceProfile, child: Callable[[Measure], None]
) -> None:
    tasks: list[CalibrationTask] = []
    shares: list[float] = []

    def measure(task: CalibrationTask, tell: Tell) -> CalibrationReport:
        tasks.append(task)
        tell(1)
        if task.cudnn_benchmark:
            seen = {call: BenchmarkBytes(9, 7) for call in task.calls}
            return CalibrationReport(benchmarked=seen)
        known = replace(shipped, workspaces={task.calls[0]: 5}, benchmarked={})
        return CalibrationReport(profile=known)

    child(measure)
    done = calibrate(CalibrationOptions(calls=few), lambda _, share: shares.append(share))
    plain, timed = tasks
    assert (plain.cudnn_benchmark, timed.cudnn_benchmark) == (False, True)
    assert len(plain.calls) == 2
    assert done.profile.workspaces == {plain.calls[0]: 5}
    assert done.profile.benchmarked == {timed.calls[0]: BenchmarkBytes(9, 7)}
    assert done.left_out == 1
    assert shares == [1 / 3, 1.0]


def test_a_child_that_fails_leaves_no_profile(few: Path, child: Callable[[Measure], None]) -> None:
    def measure(task: CalibrationTask, tell: Tell) -> CalibrationReport:
        raise ChildError("the measuring process died of SIGFPE after 1 of 2 convolutions")

    child(measure)
    with pytest.raises(NoVerdictError, match="SIGFPE after 1 of 2 convolutions"):
        calibrate(CalibrationOptions(calls=few), _quiet)


def test_what_a_driver_raises_is_told_with_the_place() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    task = CalibrationTask(calls=(), cudnn_benchmark=False, held_bytes=0)
    with pytest.raises(NoVerdictError, match="the measuring process stopped with"):
        run_child(task, lambda _: None)
