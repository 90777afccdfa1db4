from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs.mmcv import EXTENSIONS, NAME, mmcv_modules
from bevdiag.trace.assumed_values import RehearsedValues
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder
from tests.source.stubs.mmcv_calls import EXT, Held


@pytest.mark.parametrize(("how", "expected"), [("mean", [2.0, 5.0]), ("max", [3.0, 5.0])])
def test_points_are_reduced_by_their_cells(how: str, expected: list[float]) -> None:
    feats = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
    coors = torch.tensor([[0, 0, 1], [0, 0, 1], [0, 2, 0], [-1, -1, -1]])
    reduced, cells, rows, counts = EXT.dynamic_point_to_voxel_forward(feats, coors, how)
    assert reduced[:, 0].tolist() == expected
    assert cells.tolist() == [[0, 0, 1], [0, 2, 0]]
    assert rows.tolist() == [0, 0, 1, -1]
    assert counts.tolist() == [2, 1]


def test_the_largest_ones_origin_is_looked_for_in_a_table_of_its_own(held: Held) -> None:
    feats, reduced = torch.empty(40, 8, device="meta"), torch.empty(10, 8, device="meta")
    rows, counts = (torch.zeros(n, dtype=torch.int32, device="meta") for n in (40, 10))
    for how, sizes in (("max", [10 * 8 * 4]), ("mean", [])):
        call = (feats, reduced, feats, reduced, rows, counts, how)
        assert held(lambda call=call: EXT.dynamic_point_to_voxel_backward(*call)) == sizes


def test_an_unknown_function_that_returns_tensors_stops_the_trace(recorder: Recorder) -> None:
    with pytest.raises(NoVerdictError, match="softnms is a compiled operation that bevdiag does"):
        EXT.softnms(torch.ones(2, 4))


def test_zeros_are_forgotten_where_a_kernel_writes(recorder: Recorder) -> None:
    with recorder:
        features = torch.empty(1, 2, 3, 3, device="meta")
        out = features.new_zeros(1, 2, 1, 1)
        EXT.roi_align_forward(features, torch.zeros(1, 5), output=out, pool_mode=1)
        question = recorder.values.question("mask")
        assert recorder.values.mask((out != 0).flatten(), question).any()


@pytest.mark.usefixtures("computes")
def test_boxes_that_overlap_a_better_one_fall() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6]])
    kept = EXT.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), iou_threshold=0.5, offset=0)
    assert kept.tolist() == [1, 2]
    turned = torch.tensor([[0.0, 0, 2, 2, 0.1], [0, 0, 2, 2.1, 0.1], [5, 5, 1, 1, 0]])
    order = torch.tensor([1, 0, 2])
    for others in ((0.5, 0), (torch.zeros(0), 0.5, 0)):
        kept = EXT.nms_rotated(turned, torch.rand(3), order, turned[order], *others)
        assert kept.tolist() == [1, 2]


@pytest.mark.usefixtures("computes")
def test_the_kernel_of_three_neighbours_steps_by_three_in_longer_rows() -> None:
    known = torch.tensor([[[0.0, 0, 0, 7], [1, 0, 0, 7], [2, 0, 0, 7]]])
    unknown = torch.tensor([[[1.0, 0, 0, 9]]])
    squares, rows = torch.zeros(1, 1, 3), torch.zeros(1, 1, 3, dtype=torch.int32)
    EXT.three_nn_forward(unknown, known, squares, rows, b=1, n=1, m=3)
    # Read as the kernel does: (0, 0, 0), (7, 1, 0), (0, 7, 2).
    assert squares.flatten().tolist() == [1, 37, 54]
    assert rows.flatten().tolist() == [0, 1, 2]


@pytest.mark.usefixtures("computes")
def test_stacked_samples_see_their_own_points() -> None:
    cloud, counts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 0, 0]]), torch.tensor([2, 1]).int()
    centres, each = torch.tensor([[1.0, 0, 0], [1, 0, 0]]), torch.tensor([1, 1]).int()
    rows = torch.zeros(2, 2, dtype=torch.int32)
    EXT.stack_ball_query_forward(centres, each, cloud, counts, rows, max_radius=0.5, nsample=2)
    assert rows.tolist() == [[1, 1], [-1, 0]]
    rows[1, 0] = 0
    grouped = torch.zeros(2, 3, 2)
    EXT.stack_group_points_forward(cloud, counts, rows, each, grouped, b=2, m=2, c=3, nsample=2)
    assert grouped[:, 0].tolist() == [[1, 1], [0, 0]]


def test_which_box_holds_a_point() -> None:
    boxes = torch.tensor([[[0.0, 0, 0, 2, 2, 2, 0], [0, 0, 0, 4, 4, 4, 0]]])
    cloud = torch.tensor([[[0.5, 0.5, 1], [1.5, 0, 3], [0, 0, -1]]])
    first, every = torch.full((1, 3), -1, dtype=torch.int32), torch.zeros(1, 3, 2).int()
    EXT.points_in_boxes_part_forward(boxes, cloud, first)
    EXT.points_in_boxes_all_forward(boxes, cloud, every)
    assert first.tolist() == [[0, 1, -1]]
    assert every.tolist() == [[[1, 1], [0, 1], [0, 0]]]


def test_rotated_boxes_share_what_they_overlap() -> None:
    a, ious = torch.tensor([[0.0, 0, 2, 2, 0]]), torch.zeros(1)
    b = torch.tensor([[1.0, 0, 2, 2, 0]])
    EXT.box_iou_rotated(a, b, ious, mode_flag=0, aligned=True)
    assert ious.item() == pytest.approx(1 / 3, abs=0.01)
    EXT.box_iou_rotated(a, b, ious, mode_flag=1, aligned=True)
    assert ious.item() == pytest.approx(1 / 2, abs=0.01)


@pytest.mark.usefixtures("computes")
def test_the_focal_loss_is_its_definition() -> None:
    scores = torch.tensor([[0.3, -1.0], [2.0, 0.5]])
    target, out = torch.tensor([1, 2]), torch.zeros(2, 2)
    EXT.sigmoid_focal_loss_forward(scores, target, torch.empty(0), out, gamma=2.0, alpha=0.25)
    p, hit = scores.sigmoid(), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    entropy = nn.functional.binary_cross_entropy(p, hit, reduction="none")
    share = torch.where(hit > 0, 0.25 * (1 - p) ** 2, 0.75 * p**2)
    torch.testing.assert_close(out, share * entropy)


@pytest.mark.usefixtures("computes")
def test_what_no_kernel_is_there_for_is_not_rehearsed() -> None:
    with pytest.raises(NoVerdictError, match="has no values on the CPU"):
        EXT.roi_align_forward(torch.ones(1, 2, 3, 3), torch.ones(1, 5), torch.ones(1, 2, 1, 1))


SIZE, BOUNDS = torch.tensor([1.0, 1.0, 2.0]), torch.tensor([0.0, 0, 0, 4, 4, 4])


def test_points_open_voxels_in_their_order_and_fill_them() -> None:
    cloud = torch.tensor([[3.5, 0.5, 3, 1], [0.5, 1.5, 0, 2], [3.6, 0.1, 2.5, 3], [9, 0, 0, 4]])
    voxels, coors = torch.zeros(5, 2, 4), torch.zeros(5, 3, dtype=torch.int32)
    counts, number = torch.zeros(5, dtype=torch.int32), torch.zeros((), dtype=torch.long)
    EXT.hard_voxelize_forward(
        cloud, SIZE, BOUNDS, voxels, coors, counts, number, max_points=2, max_voxels=5, NDim=3
    )
    assert int(number) == 2
    assert coors[:2].tolist() == [[1, 0, 3], [0, 1, 0]]
    assert counts[:2].tolist() == [2, 1]
    assert voxels[0, :, 3].tolist() == [1, 3]


def test_outside_of_the_range_a_point_has_no_cell() -> None:
    cloud = torch.tensor([[3.5, 0.5, 3], [9, 0, 0]])
    coors = torch.zeros(2, 3, dtype=torch.int32)
    EXT.dynamic_voxelize_forward(cloud, SIZE, BOUNDS, coors, NDim=3)
    assert coors.tolist() == [[1, 0, 3], [-1, -1, -1]]


LATER: Any = mmcv_modules()[NAME]
CELLS, LIMITS = [1.0, 1.0, 2.0], [0.0, 0, 0, 4, 4, 4]


@pytest.fixture(autouse=True)
def computes() -> None:
    values = RehearsedValues()
    begin(SimulatedGpu(new_recorder(Attribution(torch.nn.Module())), values))


@pytest.fixture
def cloud() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 4, (60, 4)).astype(np.float32))


def _room() -> list[torch.Tensor]:
    return [
        torch.zeros(20, 3, 4),
        torch.zeros(20, 3, dtype=torch.int32),
        torch.zeros(20, dtype=torch.int32),
    ]


def test_points_open_the_voxels_that_they_do_in_mmcv(cloud: torch.Tensor) -> None:
    room, later, number = _room(), _room(), torch.zeros((), dtype=torch.long)
    opened = EXTENSIONS["voxel_layer"]["hard_voxelize"](
        cloud, *room, CELLS, LIMITS, 3, 20, 3, False
    )
    LATER.hard_voxelize_forward(
        cloud, torch.tensor(CELLS), torch.tensor(LIMITS), *later, number, 3, 20, 3, False
    )
    assert opened == int(number) > 10
    for here, there in zip(room, later, strict=True):
        assert torch.equal(here, there)


def test_every_point_has_the_cell_that_it_has_in_mmcv(cloud: torch.Tensor) -> None:
    here, there = torch.zeros(60, 3, dtype=torch.int32), torch.zeros(60, 3, dtype=torch.int32)
    EXTENSIONS["voxel_layer"]["dynamic_voxelize"](cloud, here, CELLS, LIMITS, 3)
    LATER.dynamic_voxelize_forward(cloud, torch.tensor(CELLS), torch.tensor(LIMITS), there, 3)
    assert torch.equal(here, there)
    assert here.any()


def test_a_box_of_old_is_as_wide_as_it_was_and_turns_from_the_y_axis() -> None:
    """Width, length and height, and along y at a yaw of 0: half of each is inside, no more."""
    box = torch.tensor([[[0.0, 0, 0, 1, 4, 2, 0]]])
    points = torch.tensor([[[0.0, 1.9, 1], [1.9, 0, 1], [0.4, 0, 1.9], [0, 0, -0.1]]])
    found = torch.full((1, 4), -1, dtype=torch.int32)
    EXTENSIONS["roiaware_pool3d_ext"]["points_in_boxes_gpu"](box, points, found)
    assert found.tolist() == [[0, -1, 0, -1]]
    every = torch.zeros(1, 4, 1, dtype=torch.int32)
    turned = box.clone()
    turned[..., 6] = np.pi / 2
    EXTENSIONS["roiaware_pool3d_ext"]["points_in_boxes_batch"](turned, points, every)
    assert every[0, :, 0].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("name", "kept"), [("nms_gpu", 2), ("nms_normal_gpu", 1)])
def test_two_corners_and_an_angle_are_suppressed(name: str, kept: int) -> None:
    boxes = torch.tensor([[-4.0, -1, 4, 1, 0], [-4, -1, 4, 1, np.pi / 2]])
    keep = torch.zeros(2, dtype=torch.long)
    assert EXTENSIONS["iou3d_cuda"][name](boxes, keep, 0.5, 0) == kept


def test_boxes_of_two_corners_and_an_angle_overlap() -> None:
    a = torch.tensor([[0.0, 0, 2, 2, 0]])
    b = torch.tensor([[1.0, 0, 3, 2, 0], [5, 5, 6, 6, 0]])
    shared = torch.zeros(1, 2)
    EXTENSIONS["iou3d_cuda"]["boxes_iou_bev_gpu"](a, b, shared)
    torch.testing.assert_close(shared, torch.tensor([[1 / 3, 0]]), atol=0.02, rtol=0)


def test_half_and_single_precision_are_the_same_convolutions() -> None:
    sparse = EXTENSIONS["sparse_conv_ext"]
    assert sparse["indice_conv_half"] is sparse["indice_conv_fp32"]
    assert sparse["get_indice_pairs_3d"].__name__ == LATER.get_indice_pairs_3d_forward.__name__
