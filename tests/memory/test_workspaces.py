import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category
from bevdiag.memory.requests import GemmWorkspace
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
from tests.memory.steps import GIB, workspace_stream

from ..streams import make, stream


@pytest.mark.parametrize(
    ("gpu", "torch", "nbytes"),
    [
        ("h200", "2.6.0", 33_554_432),
        ("a10g", "2.13.0", 8_519_680),
        ("b200", "2.11.0", 8_519_680),
        ("b200", "2.13.0", 33_554_432),
    ],
)
def test_each_thread_has_a_cublas_workspace(gpu, torch, nbytes):
    request = GemmWorkspace("main")
    asked = stream(make(0, category=Category.WORKSPACE, request=request))
    profile = simulate(asked, make_target(torch=torch, gpu=gpu))
    # The block of 8.125 MiB is split from a segment of 20 MiB; that of 32 MiB fills its own.
    assert profile.peak.allocated_bytes == nbytes
    assert profile.workspaces == {}


def test_the_end_of_the_interval_can_be_chosen(conv):
    asked = workspace_stream(conv("forward", (4, 128, 200, 176), 128), 1 * GIB)
    peaks = [
        simulate(
            asked, make_target(torch="2.11.0", profile="none"), bound=bound
        ).peak.allocated_bytes
        for bound in (Bound.LOW, Bound.EXPECTED, Bound.HIGH)
    ]
    assert peaks == sorted(set(peaks))
