"""The extension modules of mmdetection3d before 1.0: mmcv's operators under other signatures."""

from typing import Any

import numpy as np
import pytest
import torch

from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs.mmcv import NAME, mmcv_modules
from bevdiag.source.stubs.mmdet3d import EXTENSIONS
from bevdiag.trace.assumed_values import RehearsedValues
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder

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
