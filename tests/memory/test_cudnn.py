"""cuDNN's workspace against what an H200 with cuDNN 9.19 was asked for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.files.shipped import shipped_file
from bevdiag.memory.cudnn import CUBLAS_BYTES, cudnn_workspace, older_high
from bevdiag.memory.device import make_target
from bevdiag.memory.engines import NEIGHBOURS, agreed, nearest
from bevdiag.memory.profiles import DeviceProfile, profile_name, read_profile
from bevdiag.memory.workspaces import conv_workspace

MIB = 1024**2
MEASURED = make_target(torch="2.11.0", gpu="h200")
H200 = make_target(torch="2.11.0", gpu="h200", profile="none")
DIRECTIONS = {"forward": "fwd", "dgrad": "dgrad", "wgrad": "wgrad"}
WITHOUT_TF32 = Path(__file__).parent / "data" / "cudnn_workspaces_without_tf32_h200.json"
TRUTH = Path(__file__).resolve().parents[2].parent / "shared" / "truth"
SHARED = TRUTH / "cudnn_workspaces_h200.json"


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


def test_every_measured_call_lies_in_the_interval_that_the_rule_states():
    measured = MEASURED.profile.workspaces
    outside, close = [], 0
    for call, seen in measured.items():
        reported = conv_workspace(call, H200)
        assert reported.low <= reported.expected <= reported.high
        close += abs(reported.expected - seen) <= MIB
        if not reported.low <= seen <= reported.high:
            outside.append((call, reported, seen))
    assert len(measured) > 6000
    assert not outside
    assert close / len(measured) > 0.78


def test_every_shared_case_lies_in_its_interval_and_is_exact_with_the_profile(conv):
    if not SHARED.exists():
        pytest.skip("the measured workspaces are not beside this checkout")
    close = total = 0
    for row in json.loads(SHARED.read_text(encoding="utf-8")):
        for call, seen in calls(row, conv):
            reported = cudnn_workspace(call, H200)
            assert reported.low <= seen <= reported.high, (call, reported, seen)
            assert conv_workspace(call, MEASURED).expected == seen
            # The call itself is among the measured ones: it has no say in its own prediction.
            others = [n for n in nearest(call, H200.cudnn, NEIGHBOURS + 1) if n.call != call]
            expected = agreed(call, H200, reported.expected, others[:NEIGHBOURS])
            close += abs(expected - seen) <= MIB
            total += 1
    assert total == 168
    assert close >= 147


def test_with_benchmark_every_measured_call_lies_in_its_interval():
    rule = replace(H200, cudnn_benchmark=True)
    profiled = replace(MEASURED, cudnn_benchmark=True)
    seen = MEASURED.profile.benchmarked
    assert len(seen) > 300
    for call, measured in seen.items():
        reported = conv_workspace(call, rule)
        assert reported.low == 0
        assert measured.steady_bytes <= reported.high, (call, reported, measured)
        known = conv_workspace(call, profiled)
        assert (known.low, known.expected) == (0, measured.steady_bytes)
        assert known.high >= reported.high


def test_with_benchmark_the_heuristics_choice_is_expected_where_no_time_was_measured():
    profile = MEASURED.profile
    call = next(call for call in profile.workspaces if call not in profile.benchmarked)
    target = replace(MEASURED, cudnn_benchmark=True)
    assert conv_workspace(call, target).expected == profile.workspaces[call]


def test_a_batch_of_samples_beyond_32_bits_is_copied_whole(conv):
    # Measured: 17,525.88 MiB for two samples where one asks for 8,812.16 MiB.
    call = conv("forward", (2, 22400, 202, 502), 128, padding=0)
    assert cudnn_workspace(call, H200).expected == 18_377_216_384
    assert conv_workspace(call, MEASURED).expected == cudnn_workspace(call, H200).expected


def test_a_half_precision_gradient_of_32_channels_may_go_through_padded_winograd(conv):
    narrow = conv("dgrad", (2, 32, 188, 188), 32, nbytes=2)
    reported = cudnn_workspace(narrow, H200)
    assert reported.high == 325_877_760
    assert reported.expected < reported.high // 10
    assert cudnn_workspace(replace(narrow, direction="forward"), H200).high < reported.high


def test_without_tf32_a_3x3_weight_gradient_is_winograds(conv):
    v100 = make_target(torch="2.11.0", gpu="v100-16gb")
    measured = json.loads(WITHOUT_TF32.read_text(encoding="utf-8"))["rows"]
    rows = [row for row in measured if row["kernel"] == [3, 3]]
    assert len(rows) == 4
    for row in rows:
        for call, seen in calls(row, conv):
            assert cudnn_workspace(call, v100).expected == seen


def test_channels_are_padded_to_sixteen_bytes(conv):
    few = cudnn_workspace(conv("forward", (2, 64, 188, 188), 3), H200)
    padded = cudnn_workspace(conv("forward", (2, 64, 188, 188), 4), H200)
    assert few.expected == padded.expected


def test_a_pointwise_convolution_copies_nothing(conv):
    reported = cudnn_workspace(conv("forward", (4, 384, 248, 216), 18, kernel=1, padding=0), H200)
    assert (reported.low, reported.expected) == (0, 0)


def test_64_bit_indices_make_even_a_pointwise_convolution_copy(conv):
    call = conv("forward", (1, 22400, 200, 500), 256, kernel=1, padding=0)
    reported = cudnn_workspace(call, H200)
    assert reported.low == reported.expected == reported.high == 9_062_400_256


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
    reported = cudnn_workspace(conv("forward", (1, 128, 100, 100), 64, **other), H200)
    assert reported.low == 0
    assert reported.expected <= reported.high


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
    forward = conv_workspace(conv("forward", (2, inputs, 188, 188), 64), H200).expected
    dgrad = conv_workspace(conv("dgrad", (2, inputs, 188, 188), 64), H200).expected
    assert dgrad - forward == (4 * 2 * 64 * 188 * 188 if leaves_out else 0)


def test_a_product_of_one_position_a_sample_has_no_partial_sums(conv):
    # As PV-RCNN's fully connected layers, which are convolutions over a single position.
    call = conv("wgrad", (256, 27648, 1), 256, kernel=1, padding=0)
    assert cudnn_workspace(call, H200).expected == 0


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
