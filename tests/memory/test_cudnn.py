"""cuDNN's workspace against what an H200 with cuDNN 9.19 was asked for."""

import json
from pathlib import Path

import pytest

from bevdiag.memory.cudnn import cudnn_workspace
from bevdiag.memory.device import make_target

MIB = 1024**2
H200 = make_target(torch="2.11.0", gpu="h200")
DIRECTIONS = {"forward": "fwd", "dgrad": "dgrad", "wgrad": "wgrad"}
OWN = Path(__file__).parent / "data" / "cudnn_workspaces_h200.json"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "truth" / OWN.name


def measured(path, conv):
    """Yield a call and the bytes it was seen to ask for."""
    for row in json.loads(path.read_text(encoding="utf-8")):
        for direction, name in DIRECTIONS.items():
            call = conv(
                direction,
                row["input"],
                row["out_channels"],
                kernel=row["kernel"],
                stride=row["stride"],
                padding=row["padding"],
                nbytes=4 if row["dtype"] == "f32" else 2,
            )
            yield call, row[f"{name}_workspace_bytes"]


def check(path, conv):
    close = total = 0
    for call, seen in measured(path, conv):
        told = cudnn_workspace(call, H200)
        assert told.low <= seen <= told.high, (call, told, seen)
        assert told.low <= told.expected <= told.high
        close += abs(told.expected - seen) <= MIB
        total += 1
    return close, total


def test_every_own_case_lies_in_its_interval(conv):
    close, total = check(OWN, conv)
    assert total == 27
    assert close >= 21


def test_every_shared_case_lies_in_its_interval_and_six_in_seven_within_a_mib(conv):
    if not SHARED.exists():
        pytest.skip("the measured workspaces are not beside this checkout")
    close, total = check(SHARED, conv)
    assert total == 168
    assert close >= 144


def test_channels_are_padded_to_sixteen_bytes(conv):
    few = cudnn_workspace(conv("forward", (2, 64, 188, 188), 3), H200)
    padded = cudnn_workspace(conv("forward", (2, 64, 188, 188), 4), H200)
    assert few.expected == padded.expected


def test_a_pointwise_convolution_copies_nothing(conv):
    told = cudnn_workspace(conv("forward", (4, 384, 248, 216), 18, kernel=1, padding=0), H200)
    assert (told.low, told.expected) == (0, 0)


def test_64_bit_indices_make_even_a_pointwise_convolution_copy(conv):
    call = conv("forward", (1, 22400, 200, 500), 256, kernel=1, padding=0)
    told = cudnn_workspace(call, H200)
    assert told.low == told.expected == told.high == 9_062_400_256


def test_the_reports_first_conv_asks_8812_mib(conv):
    call = conv("forward", (1, 22400, 202, 502), 128, padding=0)
    assert cudnn_workspace(call, H200).expected == 9_240_217_984
    assert 9_240_217_984 // MIB == 8812


def test_a_wide_weight_gradient_is_not_split(conv):
    wide = conv("wgrad", (1, 5632, 202, 502), 128, padding=0)
    forward = conv("forward", (1, 5632, 202, 502), 128, padding=0)
    assert cudnn_workspace(wide, H200).expected == cudnn_workspace(forward, H200).expected


@pytest.mark.parametrize(
    "other",
    [
        {"transposed": True, "weight_shape": (128, 64, 3, 3), "output_shape": (1, 64, 100, 100)},
        {"channels_last": True},
        {"groups": 2, "weight_shape": (64, 64, 3, 3)},
        {"dilation": (2, 2)},
    ],
)
def test_what_was_not_measured_may_ask_nothing(conv, other):
    told = cudnn_workspace(conv("forward", (1, 128, 100, 100), 64, **other), H200)
    assert told.low == 0
    assert told.expected <= told.high


def test_a_gpu_without_tf32_needs_no_copies_of_fp32(conv):
    call = conv("forward", (1, 128, 100, 100), 64)
    v100 = make_target(torch="2.11.0", gpu="v100-16gb")
    a100 = make_target(torch="2.11.0", gpu="a100-80gb")
    assert cudnn_workspace(call, v100).expected == 0
    assert cudnn_workspace(call, a100).expected > 0
    assert cudnn_workspace(call, v100).high > 0
