"""The engine of a call by those of its neighbours."""

from pathlib import Path

import pytest

from bevdiag.files.shipped import shipped_file
from bevdiag.memory.cudnn import cudnn_workspace
from bevdiag.memory.device import make_target
from bevdiag.memory.engines import (
    FARTHEST,
    NEIGHBOURS,
    WEIGHTS,
    Neighbour,
    _place,
    agreed,
    engine_bytes,
    nearest,
)
from bevdiag.memory.profiles import profile_name, read_profile
from bevdiag.memory.workspaces import conv_workspace

MIB = 1024**2
EVERY = 7
"""Every seventh call of a profile has the share of all within a percent or two."""
STACKS = {"2.11.0": (9, 19, 0), "2.5.1": (9, 1, 0), "2.1.2": (8, 9, 2)}


def _version(torch: str) -> str:
    return ".".join(map(str, STACKS[torch]))


@pytest.mark.parametrize(
    ("torch", "left_out_share", "share"),
    [("2.11.0", 0.87, 0.92), ("2.5.1", 0.89, 0.92), ("2.1.2", 0.85, 0.92)],
)
def test_the_expected_figure_is_within_a_mebibyte_for_most_measured_calls(
    torch: str, left_out_share: float, share: float
) -> None:
    cudnn = STACKS[torch]
    path = shipped_file(f"configs/devices/{profile_name('h200', torch, cudnn)}")
    target = make_target(torch=torch, gpu="h200", cudnn=_version(torch), profile="none")
    measured = list(read_profile(Path(str(path))).workspaces.items())[::EVERY]
    near = left_out = 0
    for call, nbytes in measured:
        near += abs(conv_workspace(call, target).expected - nbytes) <= MIB
        others = [n for n in nearest(call, cudnn, NEIGHBOURS + 1) if n.call != call]
        rule = cudnn_workspace(call, target)
        expected = agreed(call, target, rule.expected, others[:NEIGHBOURS])
        left_out += abs(min(max(expected, rule.low), rule.high) - nbytes) <= MIB
    assert near / len(measured) >= share
    assert left_out / len(measured) >= left_out_share


@pytest.mark.parametrize("channels", [32, 40])
def test_an_aligned_call_asks_aligned_ones_first(channels: int, conv) -> None:
    """Rows of whole vectors have engines of their own, though another size is nearer."""
    own, odd, even = (
        _place(conv("forward", (2, c, 64, 64), 64)) for c in (channels, channels + 3, channels + 4)
    )

    def distance(other: tuple[float, ...]) -> float:
        return sum(abs(x - y) * w for x, y, w in zip(own, other, WEIGHTS, strict=True))

    assert abs(odd[1] - own[1]) < abs(even[1] - own[1])
    assert distance(even) < distance(odd)


def test_the_engine_is_taken_over_and_not_its_bytes(conv) -> None:
    target = make_target(torch="2.11.0", gpu="h200", profile="none")
    small, large = (conv("forward", (2, 256, size, size), 256) for size in (100, 200))
    copied = 4 * (2 * 256 * 100**2 + 256 * 256 * 9)
    near = Neighbour(distance=0.1, call=small, nbytes=copied)
    assert agreed(large, target, 0, [near]) == 4 * (2 * 256 * 200**2 + 256 * 256 * 9)


def test_sums_are_those_of_the_targets_multiprocessors(conv) -> None:
    h200 = make_target(torch="2.11.0", gpu="h200", profile="none")
    fewer = make_target(torch="2.11.0", gpu="rtx4060", profile="none")
    call = conv("wgrad", (1, 128, 100, 100), 128)
    tiles = 132 // 9 * 9 * 128 * 128 * 4
    near = Neighbour(distance=0.1, call=call, nbytes=tiles)
    assert agreed(call, h200, 0, [near]) == tiles
    assert agreed(call, fewer, 0, [near]) == fewer.multiprocessors // 9 * 9 * 128 * 128 * 4


def test_what_no_engine_explains_leaves_the_rule(conv) -> None:
    target = make_target(torch="2.11.0", gpu="h200", profile="none")
    call = conv("forward", (2, 64, 100, 100), 64)
    assert agreed(call, target, 7, [Neighbour(0.1, call, 10**11)]) == 7
    assert agreed(call, target, 7, []) == 7


def test_calls_of_other_sizes_by_far_have_no_vote(conv) -> None:
    target = make_target(torch="2.11.0", gpu="h200", profile="none")
    near = conv("wgrad", (2, 64, 200, 176), 64)
    far = conv("wgrad", (256, 4096, 2, 2), 4096)
    assert nearest(near, target.cudnn, NEIGHBOURS)[0].distance <= FARTHEST
    assert nearest(far, target.cudnn, NEIGHBOURS) == ()
    assert engine_bytes(far, target, 7) == 7


def test_a_gpu_without_tensor_cores_is_not_held_against_one_that_has_them(conv) -> None:
    call = conv("forward", (2, 64, 188, 188), 64)
    pascal = make_target(torch="2.5.1", gpu="gtx1080ti")
    assert engine_bytes(call, pascal, 5) == 5
