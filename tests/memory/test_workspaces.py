"""The buffer of a spread-out reduction, as an H200 was seen to ask for it."""

import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.requests import StridedReduction
from bevdiag.memory.workspaces import reduction_buffer

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
