"""CenterHead's targets."""

import numpy as np
import torch

from bevdiag.config.head_settings import CenterTargetSettings
from bevdiag.models.dense_heads.center_losses import (
    BevGrid,
    boxes_of_head,
    draw_gaussian,
    draw_targets,
    gather_cells,
    gaussian_radius,
    heatmap_loss,
    regression_loss,
)

GRID = BevGrid(width=20, height=10, origin=(-1.0, 0.0), voxel=(0.25, 0.25), stride=2)
SETTINGS = CenterTargetSettings(feature_map_stride=1, num_max_objs=4)
BOX = np.array([1.3, 2.1, 0.4, 2.0, 1.0, 0.5, 0.3, 2], np.float32)


def test_a_box_becomes_a_gaussian_of_its_class_and_its_codes():
    empty = np.zeros(8, np.float32)
    targets = draw_targets(np.stack([empty, BOX]), 2, GRID, SETTINGS)

    x, y = 4, 4
    assert targets.heatmap[1, y, x] == targets.heatmap.max() == 1
    assert not targets.heatmap[0].any()
    assert targets.heatmap[1, y, x + 1] == targets.heatmap[1, y - 1, x] < 1
    assert targets.mask.tolist() == [0, 1, 0, 0]
    assert targets.cells.tolist() == [0, y * 20 + x, 0, 0]
    codes = [0.6, 0.2, 0.4, *np.log([2.0, 1.0, 0.5]), np.cos(0.3), np.sin(0.3)]
    np.testing.assert_allclose(targets.boxes[1], codes, rtol=1e-4)
    np.testing.assert_array_equal(targets.source_boxes[1], BOX)


def test_a_centre_beyond_the_map_is_moved_to_its_edge():
    outside = BOX.copy()
    outside[:2] = (100, -100)
    targets = draw_targets(outside[None], 2, GRID, SETTINGS)
    assert targets.cells[0] == 19


def test_boxes_beyond_the_most_objects_are_left_out():
    targets = draw_targets(np.stack([BOX] * 6), 2, GRID, SETTINGS)
    assert targets.mask.tolist() == [1, 1, 1, 1]


def test_gaussians_that_overlap_keep_the_higher_value():
    heatmap = np.zeros((9, 9), np.float32)
    draw_gaussian(heatmap, 4, 4, 2)
    before = heatmap.copy()
    draw_gaussian(heatmap, 0, 8, 2)
    assert heatmap[8, 0] == 1
    assert (heatmap >= before).all()


def test_a_gaussian_wider_than_the_map_takes_no_more_than_it():
    heatmap = np.zeros((9, 9), np.float32)
    draw_gaussian(heatmap, 4, 4, 10**7)
    assert (heatmap > 0.99).all()


def test_the_radius_grows_with_the_box_and_falls_with_the_overlap():
    assert gaussian_radius(8, 4, 0.1) > gaussian_radius(4, 2, 0.1)
    assert gaussian_radius(8, 4, 0.1) > gaussian_radius(8, 4, 0.5) > 0


def test_classes_are_counted_within_their_head():
    boxes = np.zeros((3, 8), np.float32)
    boxes[:, -1] = (1, 2, 0)
    own = boxes_of_head(boxes, ("Box", "Diver"), ("Diver",))
    assert own[:, -1].tolist() == [1]
    assert boxes[:, -1].tolist() == [1, 2, 0]


def test_the_heat_map_loss_rewards_the_right_peak():
    target = torch.zeros(1, 1, 4, 4)
    target[0, 0, 1, 2] = 1
    right = torch.where(target == 1, 0.9, 0.1)
    wrong = torch.where(target == 1, 0.1, 0.9)
    good, bad = (heatmap_loss(p, target, has_centres=True) for p in (right, wrong))
    assert 0 < good < bad


def test_without_centres_only_the_background_counts():
    target, predicted = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    expected = -16 * torch.log(torch.tensor(0.5)) * 0.25
    assert torch.isclose(heatmap_loss(predicted, target, has_centres=False), expected)


def test_the_regression_loss_averages_over_objects_and_does_not_hide_nan():
    output = torch.arange(32.0).view(1, 2, 4, 4)
    cells, mask = torch.tensor([[5, 9, 0]]), torch.tensor([[1, 1, 0]])
    target = gather_cells(output, cells) + torch.tensor([[[1.0, 2.0], [3.0, torch.nan], [9, 9]]])
    loss = regression_loss(output, mask, cells, target)
    assert torch.isnan(loss[1])
    assert loss[0] == 2


def test_gathering_reads_cell_by_cell():
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    assert gather_cells(maps, torch.tensor([[0, 7]])).tolist() == [[[0, 12], [7, 19]]]
