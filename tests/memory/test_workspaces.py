"""The buffer of a spread-out reduction, as an H200 was seen to ask for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category
from bevdiag.memory.requests import GemmWorkspace, RnnCall, StridedReduction
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound, reduction_buffer, reserve_bytes, workspace
from tests.memory.steps import GIB, workspace_stream

from ..streams import make, stream

H200 = make_target(torch="2.11.0", gpu="h200")


# PointPillars' batch norm over KITTI's and nuScenes' pillars, in fp32, fp16 and bf16 alike.
@pytest.mark.parametrize("rows", [120_000 * 20, 27_799 * 32])
def test_a_batch_norm_over_pillars_takes_a_mebibyte_a_multiprocessor(rows):
    assert reduction_buffer(StridedReduction(64, rows, 16), H200) == 132 * 1024**2


def test_few_values_are_reduced_within_a_block():
    assert reduction_buffer(StridedReduction(64, 1000, 16), H200) == 0
    assert reduction_buffer(StridedReduction(64, 1, 16), H200) == 0
    assert reduction_buffer(StridedReduction(64, 0, 16), H200) == 0
    assert reduction_buffer(StridedReduction(0, 64, 16), H200) == 0


def test_a_smaller_gpu_spreads_it_less():
    small = make_target(torch="2.11.0", gpu="rtx4090")
    call = StridedReduction(64, 120_000 * 20, 16)
    # 128 multiprocessors of 1,536 threads.
    assert reduction_buffer(call, small) == 128 * 1024**2 * 1536 // 2048


@pytest.mark.parametrize("channels", [3, 6, 1000])
def test_any_number_of_channels_has_a_buffer(channels):
    assert reduction_buffer(StridedReduction(channels, 10_000_000, 16), H200) > 0


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


DATA = json.loads((Path(__file__).parents[1] / "data" / "rnn_h200.json").read_text("utf-8"))


@pytest.mark.parametrize("row", DATA["rows"])
def test_the_reserve_is_exact_and_the_workspace_in_its_interval(row: dict[str, Any]) -> None:
    seen, reserve = row["workspace_bytes"], row["reserve_bytes"]
    call = RnnCall(
        **{key: row[key] for key in row if not key.endswith("_bytes")},
        element_bytes=row["element_bytes"],
    )
    assert reserve_bytes(call) == reserve
    reported = workspace(call, H200)
    assert reported.low <= seen <= reported.high
    if row["kind"] in ("lstm", "gru") and row["hidden"] >= 200 and row["directions"] == 1:
        assert reported.expected == pytest.approx(seen, rel=0.025)
