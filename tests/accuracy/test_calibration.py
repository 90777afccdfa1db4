"""Which calls are measured, what is made of the child's reports, and how it can fail."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bevdiag.accuracy import calibration
from bevdiag.accuracy.calibration import GRID, CalibrationOptions, calibrate, calls_of
from bevdiag.children import ChildError, Tell
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.files.shipped import shipped_file
from bevdiag.memory.profiles import BenchmarkBytes, DeviceProfile, profile_text, read_profile
from bevdiag.memory.requests import ConvCall
from bevdiag.trace.calibrate import READY, CalibrationTask, MeasuredCall, run_child

Measure = Callable[[CalibrationTask, Tell], None]
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
        benchmarked={timed: BenchmarkBytes(trial_bytes=2, steady_bytes=1)},
    )
    path = tmp_path / "few.json"
    path.write_text(profile_text(small), encoding="utf-8")
    return path


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[[Measure], None]:
    """A GPU that is there, and a measuring function that needs none, run in this process."""

    def measure_with(measure: Measure) -> None:
        monkeypatch.setattr(calibration, "_in_child", measure)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return measure_with


def test_without_a_gpu_there_is_nothing_to_measure() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(NoVerdictError, match=r"no usable CUDA device.*--profile"):
        calibrate(CalibrationOptions(), _quiet)


def test_the_calls_of_a_model_are_those_of_its_step() -> None:
    wanted = CalibrationOptions(configs=(SMALL,), batch_sizes=(1,), autocasts=("bf16",))
    calls = calls_of(wanted, _quiet)
    assert {call.direction for call in calls} == {"forward", "dgrad", "wgrad"}
    assert {call.dtype for call in calls} == {"bfloat16"}
    assert {call.input_shape[0] for call in calls} == {1}


def test_each_mode_is_measured_in_a_child_of_its_own(
    few: Path, shipped: DeviceProfile, child: Callable[[Measure], None]
) -> None:
    tasks: list[CalibrationTask] = []
    shares: list[float] = []

    def measure(task: CalibrationTask, tell: Tell) -> None:
        tasks.append(task)
        tell(READY)
        if task.is_first:
            tell(replace(shipped, workspaces={}, benchmarked={}))
        tell(MeasuredCall(task.calls[0], 9, 7))
        for call in task.calls[1:]:
            tell(MeasuredCall(call))

    child(measure)
    done = calibrate(CalibrationOptions(calls=few), lambda _, share: shares.append(share))
    plain, timed = tasks
    assert (plain.cudnn_benchmark, timed.cudnn_benchmark) == (False, True)
    assert (plain.is_first, timed.is_first) == (True, False)
    assert len(plain.calls) == 2
    assert done.profile.workspaces == {plain.calls[0]: 7}
    assert done.profile.benchmarked == {
        timed.calls[0]: BenchmarkBytes(trial_bytes=9, steady_bytes=7)
    }
    assert (done.left_out, done.crashes) == (1, ())
    assert shares == [1 / 3, 2 / 3, 1.0]


def _dying_at(deadly: ConvCall, device: DeviceProfile, tasks: list[CalibrationTask]) -> Measure:
    """A measuring function that gets to a call, and no further."""

    def measure(task: CalibrationTask, tell: Tell) -> None:
        tasks.append(task)
        tell(READY)
        if task.is_first:
            tell(replace(device, workspaces={}, benchmarked={}))
        for call in task.calls:
            if call == deadly:
                raise ChildError("the measuring process died of SIGFPE")
            tell(MeasuredCall(call, 3, 3))

    return measure


@pytest.fixture
def many(shipped: DeviceProfile, tmp_path: Path) -> tuple[Path, list[ConvCall]]:
    """A profile of six calls, and the calls."""
    calls = list(shipped.workspaces)[:6]
    path = tmp_path / "many.json"
    small = replace(shipped, workspaces=dict.fromkeys(calls, 1), benchmarked={})
    path.write_text(profile_text(small), encoding="utf-8")
    return path, list(read_profile(path).workspaces)


def test_a_call_that_kills_its_process_is_named_and_skipped(
    many: tuple[Path, list[ConvCall]], shipped: DeviceProfile, child: Callable[[Measure], None]
) -> None:
    path, calls = many
    tasks: list[CalibrationTask] = []
    child(_dying_at(calls[3], shipped, tasks))
    done = calibrate(CalibrationOptions(calls=path), _quiet)
    assert done.profile.workspaces == dict.fromkeys([*calls[:3], *calls[4:]], 3)
    assert done.profile.crashed == {calls[3]}
    assert done.left_out == 1
    (crash,) = done.crashes
    assert str(calls[3].weight_shape) in crash
    assert "SIGFPE" in crash
    assert [task.is_first for task in tasks] == [True, False]
    assert tasks[1].calls == tuple(calls[4:])


def test_what_was_kept_is_not_measured_again(
    many: tuple[Path, list[ConvCall]], shipped: DeviceProfile, child: Callable[[Measure], None]
) -> None:
    path, calls = many
    kept: list[DeviceProfile] = []
    tasks: list[CalibrationTask] = []
    child(_dying_at(calls[2], shipped, tasks))
    calibrate(CalibrationOptions(calls=path), _quiet, kept.append)
    interrupted = kept[0]
    assert set(interrupted.workspaces) == set(calls[:2])
    tasks.clear()
    done = calibrate(CalibrationOptions(calls=path, known=interrupted), _quiet)
    assert [task.calls for task in tasks] == [tuple(calls[3:])]
    assert set(done.profile.workspaces) == {*calls[:2], *calls[3:]}
    assert done.profile.crashed == {calls[2]}


def test_another_machines_profile_is_not_gone_on_with(
    many: tuple[Path, list[ConvCall]], shipped: DeviceProfile, child: Callable[[Measure], None]
) -> None:
    path, calls = many
    child(_dying_at(calls[0], shipped, []))
    other = replace(shipped, cudnn=(9, 1, 0))
    with pytest.raises(InputError, match=r"cuDNN 9\.1\.0, and this is .*cuDNN 9\.19\.0"):
        calibrate(CalibrationOptions(calls=path, known=other), _quiet)


def test_a_child_that_fails_before_the_device_is_measured_leaves_no_profile(
    few: Path, child: Callable[[Measure], None]
) -> None:
    def measure(task: CalibrationTask, tell: Tell) -> None:
        raise ChildError("the measuring process died of SIGFPE while the device was measured")

    child(measure)
    with pytest.raises(NoVerdictError, match="SIGFPE while the device"):
        calibrate(CalibrationOptions(calls=few), _quiet)


def test_a_gpu_on_which_every_call_dies_ends_the_work(
    shipped: DeviceProfile, child: Callable[[Measure], None]
) -> None:
    deaths = 0

    def measure(task: CalibrationTask, tell: Tell) -> None:
        nonlocal deaths
        tell(READY)
        if task.is_first:
            tell(replace(shipped, workspaces={}, benchmarked={}))
        deaths += 1
        raise ChildError("the measuring process died of SIGBUS")

    child(measure)
    with pytest.raises(NoVerdictError, match="SIGBUS"):
        calibrate(CalibrationOptions(), _quiet)
    assert deaths == calibration.MOST_DEATHS + 1


def test_a_gpu_that_no_longer_answers_ends_the_work_at_once(
    many: tuple[Path, list[ConvCall]], shipped: DeviceProfile, child: Callable[[Measure], None]
) -> None:
    path, calls = many
    tasks: list[CalibrationTask] = []
    dying = _dying_at(calls[1], shipped, tasks)

    def measure(task: CalibrationTask, tell: Tell) -> None:
        if task.is_first:
            dying(task, tell)
        tasks.append(task)
        raise ChildError("the measuring process stopped with CUDA error: device lost")

    child(measure)
    with pytest.raises(NoVerdictError, match="device lost"):
        calibrate(CalibrationOptions(calls=path), _quiet)
    assert len(tasks) == 2


def die_at_the_third_call(task: CalibrationTask, tell: Tell) -> None:
    """Tell of a device and two calls, and be killed: runs in a process of its own."""
    tell(READY)
    tell(read_profile(Path(GRID)))
    for call in task.calls[:2]:
        tell(MeasuredCall(call, 3, 3))
    os.kill(os.getpid(), signal.SIGSEGV)


def test_what_a_killed_process_had_measured_is_kept(
    many: tuple[Path, list[ConvCall]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = many
    kept: list[DeviceProfile] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(calibration, "run_child", die_at_the_third_call)
    monkeypatch.setattr(calibration, "MOST_DEATHS", 1)
    done = calibrate(CalibrationOptions(calls=path), _quiet, kept.append)
    assert {*kept[0].workspaces} == {*calls[:2]}
    assert done.profile.crashed == {calls[2], calls[5]}
    assert all("died of SIGSEGV" in crash for crash in done.crashes)


def test_what_a_driver_raises_is_reported_with_the_place() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    task = CalibrationTask(calls=(), cudnn_benchmark=False, held_bytes=0, is_first=True)
    with pytest.raises(NoVerdictError, match="the measuring process stopped with"):
        run_child(task, lambda _: None)
