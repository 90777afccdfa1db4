"""What a GPU is measured for; needs one."""

from typing import Any

import pytest
import torch

from bevdiag.children import Answer, Child
from bevdiag.memory.profiles import DeviceProfile, profile_text
from bevdiag.memory.requests import ConvCall
from bevdiag.trace.calibrate import READY, CalibrationTask, CudnnHeuristics, run_child

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


def _measured(calls: tuple[ConvCall, ...], *, cudnn_benchmark: bool) -> list[Any]:
    heard: list[Any] = []
    task = CalibrationTask(
        calls=calls, cudnn_benchmark=cudnn_benchmark, held_bytes=0, is_first=True
    )
    with Child(run_child, name="the measuring process") as child:
        child.give(task)
        while not isinstance(message := child.receive(), Answer):
            heard.append(message.value)
    message.unwrap()
    assert heard[0] == READY
    return heard[1:]


@pytest.fixture(scope="module")
def measured() -> list[Any]:
    return _measured(CALLS, cudnn_benchmark=False)


@pytest.fixture(scope="module")
def profile(measured: list[Any]) -> DeviceProfile:
    device: DeviceProfile = measured[0]
    return device


def test_the_device_and_its_libraries_are_named(profile: DeviceProfile) -> None:
    assert profile.gpu.name == torch.cuda.get_device_name()
    assert profile.torch == torch.__version__
    assert profile.context_bytes > 100 * 1024**2
    assert min(profile.cublas_workspace_bytes.values()) >= 0
    assert f'"gpu": {{"name": "{profile.gpu.name}"' in profile_text(profile)


def test_every_call_is_measured(measured: list[Any]) -> None:
    assert [seen.call for seen in measured[1:]] == list(CALLS)
    assert any(seen.later for seen in measured[1:])


def test_trying_the_algorithms_takes_at_least_what_the_fastest_takes() -> None:
    seen = _measured(CALLS, cudnn_benchmark=True)[1:]
    assert {one.call for one in seen} == set(CALLS)
    assert all(one.first >= one.later for one in seen)
    assert any(one.first > one.later for one in seen)


def test_cudnns_own_answer_is_what_pytorch_asks_for(measured: list[Any]) -> None:
    heuristics = CudnnHeuristics.if_installed()
    if heuristics is None:
        pytest.skip("nvidia-cudnn-frontend is not installed")
    for seen in measured[1:]:
        assert heuristics.workspace_bytes(seen.call) == seen.later, seen.call
