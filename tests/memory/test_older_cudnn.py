"""The rules alone beside every call that was measured, and what older cuDNN adds to them."""

from pathlib import Path

import pytest

from bevdiag.files.shipped import shipped_file
from bevdiag.memory.device import make_target
from bevdiag.memory.older_cudnn import CUBLAS_BYTES, older_high
from bevdiag.memory.profiles import DeviceProfile, profile_name, read_profile
from bevdiag.memory.workspaces import conv_workspace

STACKS = (("2.11.0", (9, 19, 0)), ("2.5.1", (9, 1, 0)), ("2.1.2", (8, 9, 2)))


def _profile(torch: str, cudnn: tuple[int, int, int]) -> DeviceProfile:
    path = shipped_file(f"configs/devices/{profile_name('h200', torch, cudnn)}")
    assert path is not None
    return read_profile(Path(path))


@pytest.mark.parametrize(("torch", "cudnn"), STACKS)
def test_the_rules_cover_every_measured_call(torch: str, cudnn: tuple[int, int, int]) -> None:
    version = ".".join(map(str, cudnn))
    target = make_target(torch=torch, gpu="h200", cudnn=version, profile="none")
    measured = _profile(torch, cudnn).workspaces
    assert len(measured) > 6000
    missed = []
    for call, nbytes in measured.items():
        stated = conv_workspace(call, target)
        if not stated.low <= nbytes <= stated.high:
            missed.append((call, nbytes, stated))
    assert not missed, missed[:3]


def test_the_newest_asks_for_nothing_beyond_its_rules(conv) -> None:
    call = conv("wgrad", (2, 64, 100, 100), 64)
    assert older_high(call, (9, 19, 0), 10, 10) == 0
    assert older_high(call, (9, 5, 1), 10, 10) == 0
    assert older_high(call, (9, 1, 0), 10, 10) > 0


def test_cublas_has_its_workspace_before_version_nine(conv) -> None:
    call = conv("forward", (1, 384, 25, 63), 18, kernel=1)
    assert older_high(call, (8, 9, 2), 0, 0) == CUBLAS_BYTES
    assert older_high(call, (9, 1, 0), 0, 0) < CUBLAS_BYTES
