"""Points in boxes."""

import numpy as np
import torch

from bevdiag.models.backbones_3d.voxel_growth import points_in_boxes


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
