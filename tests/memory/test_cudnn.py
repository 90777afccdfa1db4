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


def calls(row, conv):
    """Yield the three calls of a measured row and the bytes that each was seen to ask for."""
    rank = len(row["input"]) - 2
    kernel = row["kernel"] if isinstance(row["kernel"], list) else [row["kernel"]] * rank
    groups, transposed = row.get("groups", 1), row.get("transposed", False)
    channels, out_channels = row["input"][1], row["out_channels"]
    fields = {
        "weight_shape": (
            (channels, out_channels // groups, *kernel)
            if transposed
            else (out_channels, channels // groups, *kernel)
        ),
        "dilation": (row.get("dilation", 1),) * rank,
        "groups": groups,
        "transposed": transposed,
        "channels_last": row.get("channels_last", False),
    }
    if "output" in row:
        fields["output_shape"] = tuple(row["output"])
    for direction, name in DIRECTIONS.items():
        call = conv(
            direction,
            row["input"],
            out_channels,
            kernel=kernel[0],
            stride=row["stride"],
            padding=row["padding"] if isinstance(row["padding"], int) else row["padding"][0],
            nbytes=4 if row["dtype"] == "f32" else 2,
            **fields,
        )
        yield call, row.get(name, row.get(f"{name}_workspace_bytes"))


@pytest.fixture(scope="module")
def own_rows():
    return json.loads(OWN.read_text(encoding="utf-8"))["rows"]


def test_an_interval_that_promises_anything_holds(own_rows, conv):
    promised = close = inside = total = 0
    for row in own_rows:
        if not row.get("tf32", True):
            continue
        for call, seen in calls(row, conv):
            told = cudnn_workspace(call, H200)
            assert told.low <= told.expected <= told.high
            holds = told.low <= seen <= told.high
            assert holds or not told.low, (call, told, seen)
            promised += told.low > 0
            inside += holds
            close += abs(told.expected - seen) <= MIB
            total += 1
    assert (promised, total) == (762, 1860)
    # Kernels of 5 and 7, and FFTs for 32 channels in half precision, can ask for more.
    assert inside >= 1849
    assert close >= 1473


def test_every_shared_case_lies_in_its_interval_and_six_in_seven_within_a_mib(conv):
    if not SHARED.exists():
        pytest.skip("the measured workspaces are not beside this checkout")
    close = total = 0
    for row in json.loads(SHARED.read_text(encoding="utf-8")):
        for call, seen in calls(row, conv):
            told = cudnn_workspace(call, H200)
            assert told.low <= seen <= told.high, (call, told, seen)
            close += abs(told.expected - seen) <= MIB
            total += 1
    assert total == 168
    assert close >= 147


def test_without_tf32_a_3x3_weight_gradient_is_winograds(own_rows, conv):
    v100 = make_target(torch="2.11.0", gpu="v100-16gb")
    rows = [row for row in own_rows if not row.get("tf32", True) and row["kernel"] == [3, 3]]
    assert len(rows) == 4
    for row in rows:
        for call, seen in calls(row, conv):
            assert cudnn_workspace(call, v100).expected == seen


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
        {"weight_shape": (64, 128, 5, 5)},
        {"groups": 2, "weight_shape": (64, 64, 3, 3)},
    ],
)
def test_what_was_not_measured_may_ask_nothing(conv, other):
    told = cudnn_workspace(conv("forward", (1, 128, 100, 100), 64, **other), H200)
    assert told.low == 0
    assert told.expected <= told.high


def test_a_gpu_without_tf32_copies_no_fp32(conv):
    call = conv("forward", (1, 128, 100, 100), 64)
    v100 = make_target(torch="2.11.0", gpu="v100-16gb")
    a100 = make_target(torch="2.11.0", gpu="a100-80gb")
    assert cudnn_workspace(call, v100).expected == 0
    assert cudnn_workspace(call, a100).expected > 0
    assert cudnn_workspace(call, v100).high > 0


def test_a_batch_beyond_32_bits_runs_in_parts(conv):
    whole = cudnn_workspace(conv("forward", (4, 64, 3000, 3000), 64), H200)
    parts = cudnn_workspace(conv("forward", (3, 64, 3000, 3000), 64), H200)
    assert whole == parts


@pytest.mark.parametrize(("inputs", "leaves_out"), [(512, True), (64, False)])
def test_a_kernel_that_writes_nchw_leaves_out_the_results_copy(conv, inputs, leaves_out):
    forward = cudnn_workspace(conv("forward", (2, inputs, 188, 188), 64), H200).expected
    dgrad = cudnn_workspace(conv("dgrad", (2, inputs, 188, 188), 64), H200).expected
    assert dgrad - forward == (4 * 2 * 64 * 188 * 188 if leaves_out else 0)
