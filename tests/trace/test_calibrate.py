"""What a GPU is measured for; needs one."""

from multiprocessing import get_context

import pytest
import torch

from bevdiag.memory.events import ConvCall
from bevdiag.memory.profiles import DeviceProfile, profile_text
from bevdiag.trace.ask_cudnn import CudnnHeuristics
from bevdiag.trace.calibrate import CalibrationReport, CalibrationTask, run_child

pytestmark = pytest.mark.gpu


def _call(direction: str, dtype: str = "float32", *, transposed: bool = False) -> ConvCall:
    return ConvCall(
        direction=direction,
        input_shape=(2, 64, 94, 94),
        weight_shape=(64, 128, 2, 2) if transposed else (128, 64, 3, 3),
        output_shape=(2, 128, 188, 188) if transposed else (2, 128, 94, 94),
        stride=(2, 2) if transposed else (1, 1),
        padding=(0, 0) if transposed else (1, 1),
        dilation=(1, 1),
        groups=1,
        transposed=transposed,
        element_bytes=4 if dtype == "float32" else 2,
        dtype=dtype,
    )


CALLS = tuple(
    _call(direction, dtype, transposed=transposed)
    for direction in ("forward", "dgrad", "wgrad")
    for dtype in ("float32", "float16")
    for transposed in (False, True)
)


def _measured(calls: tuple[ConvCall, ...], *, cudnn_benchmark: bool) -> CalibrationReport:
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    task = CalibrationTask(calls=calls, cudnn_benchmark=cudnn_benchmark, held_bytes=0)
    child = context.Process(target=run_child, args=(task, there))
    child.start()
    there.close()
    report = here.recv()
    while not report.is_last:
        report = here.recv()
    child.join()
    assert report.error is None
    return report


@pytest.fixture(scope="module")
def profile() -> DeviceProfile:
    report = _measured(CALLS, cudnn_benchmark=False)
    assert report.profile is not None
    return report.profile


def test_the_device_and_its_libraries_are_named(profile: DeviceProfile) -> None:
    assert profile.gpu == torch.cuda.get_device_name()
    assert profile.torch == torch.__version__
    assert profile.context_bytes > 100 * 1024**2
    assert min(profile.cublas_workspace_bytes.values()) >= 0
    assert f'"gpu": {{"name": "{profile.gpu}"' in profile_text(profile)


def test_every_call_is_measured(profile: DeviceProfile) -> None:
    assert set(profile.workspaces) == set(CALLS)
    assert any(profile.workspaces.values())


def test_trying_the_algorithms_takes_at_least_what_the_fastest_takes() -> None:
    seen = _measured(CALLS, cudnn_benchmark=True).benchmarked
    assert seen is not None
    assert set(seen) == set(CALLS)
    assert all(call.trial >= call.steady for call in seen.values())
    assert any(call.trial > call.steady for call in seen.values())


def test_cudnns_own_answer_is_what_pytorch_asks_for(profile: DeviceProfile) -> None:
    heuristics = CudnnHeuristics.if_installed()
    if heuristics is None:
        pytest.skip("nvidia-cudnn-frontend is not installed")
    for call in CALLS:
        assert heuristics.workspace_bytes(call) == profile.workspaces[call], call
