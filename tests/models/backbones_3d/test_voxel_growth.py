import numpy as np
import pytest
import torch

from bevdiag.models.backbones_3d.focal_growth import FocalDecision, count, grow
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth, points_in_boxes
from bevdiag.sparse import namespace
from tests.models.backbones_3d.focal_voxels import SHAPE, random_coords


def test_the_first_box_that_holds_a_point_is_named():
    boxes = torch.tensor([[[0, 0, 0, 4, 2, 2, 0], [0, 0, 0, 10, 10, 10, 0.0]]])
    points = torch.tensor([[[1.9, 0.9, 1.0], [1.9, 1.1, 0], [6, 0, 0]]])
    assert points_in_boxes(points, boxes).tolist() == [[0, 1, -1]]


def test_the_heading_turns_the_box():
    boxes = torch.tensor([[[0, 0, 0, 4, 1, 1, np.pi / 2]]], dtype=torch.float32)
    points = torch.tensor([[[0, 1.9, 0], [1.9, 0, 0]]], dtype=torch.float32)
    assert points_in_boxes(points, boxes).tolist() == [[0, -1]]


def test_without_values_there_is_only_the_result():
    result = points_in_boxes(
        torch.empty(1, 5, 3, device="meta"), torch.empty(1, 2, 7, device="meta")
    )
    assert result.is_meta
    assert result.shape == (1, 5)


def random_decision(seed, number, fore=0.5, neighbours=0.4):
    rng = np.random.default_rng(seed)
    return FocalDecision(rng.random(number) < fore, rng.random((number, 26)) < neighbours)


def keep_with_tensors(coords, decision, shape, batch_size):
    """Split, grow and merge with the module's own functions on real tensors."""
    spconv = namespace("cpu")
    x = spconv.SparseConvTensor(
        torch.ones(len(coords), 1), torch.from_numpy(coords), list(shape), batch_size
    )
    mask = np.column_stack((decision.kernel_mask, decision.fore_mask))
    logits = torch.from_numpy(np.where(mask, 1.0, -1.0)).float()
    growth = VoxelGrowth(
        threshold=0.5, topk=False, scale_all=False, scale_fore=False, spconv=spconv
    )
    return growth.grown(x, logits)[0].indices.numpy()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("fore", "neighbours"), [(0.5, 0.4), (0.1, 0.02), (1.0, 1.0)])
def test_the_encoder_keeps_the_same_voxels(seed, fore, neighbours):
    coords = random_coords(seed)
    decision = random_decision(seed, len(coords), fore, neighbours)

    expected = keep_with_tensors(coords, decision, SHAPE, 2)
    growth = grow(coords, decision, SHAPE, 2)

    assert sorted(map(tuple, growth.coords)) == sorted(map(tuple, expected))
    assert count(coords, decision, SHAPE, 2) == len(expected)
    assert sum(sample.num_kept for sample in growth.samples) == len(expected)


def test_keys_that_float32_rounds_may_leave_equal_voxels_apart():
    shape = (400, 400, 400)
    rng = np.random.default_rng(0)
    near = rng.integers((0, 393, 393, 350), (1, 398, 398, 398), (300, 4))
    coords = np.unique(near, axis=0).astype(np.int32)
    decision = random_decision(0, len(coords))

    expected = keep_with_tensors(coords, decision, shape, 1)

    assert len(np.unique(expected, axis=0)) <= len(expected)
    assert count(coords, decision, shape, 1) == len(expected)


def test_voxels_at_the_largest_coordinate_merge_with_the_next_row():
    corner, next_row = (0, 3, 2, 5), (0, 3, 3, 0)
    coords = np.array([corner, next_row], np.int32)
    nothing = FocalDecision(np.zeros(2, bool), np.zeros((2, 26), bool))
    assert count(coords, nothing, SHAPE, 1) == 1


def test_planes_at_zero_are_never_grown_into():
    coords = np.array([[0, 1, 1, 1]], np.int32)
    everything = FocalDecision(np.ones(1, bool), np.ones((1, 26), bool))
    kept = grow(coords, everything, SHAPE, 1).coords
    assert len(kept) > 1
    assert kept[:, 1:].min() == 1
