"""Rotated overlaps against a count of fine grid points, and suppression against its definition."""

import numpy as np
import pytest
import torch

from bevdiag.source.stubs.ops import OPS

IOU = OPS["iou3d_nms_cuda"]


def _random_boxes(count: int, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, generator=random)
    boxes[:, :2] *= 6
    boxes[:, 3:6] = boxes[:, 3:6] * 3 + 1
    boxes[:, 6] = boxes[:, 6] * 8 - 4
    return boxes


def _covered(boxes: torch.Tensor) -> np.ndarray:
    """[N, points]: which points of a grid of 2 cm lie in each box."""
    axis = torch.arange(-4, 10, 0.02)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    rows = []
    for box in boxes:
        dx, dy = x - box[0], y - box[1]
        along = (dx * box[6].cos() + dy * box[6].sin()).abs() <= box[3] / 2
        across = (dy * box[6].cos() - dx * box[6].sin()).abs() <= box[4] / 2
        rows.append((along & across).flatten().numpy())
    return np.stack(rows).astype(np.float32)


def test_overlaps_are_the_areas_that_boxes_share() -> None:
    a, b = _random_boxes(12, 0), _random_boxes(9, 1)
    areas = torch.full((12, 9), -1.0)

    assert IOU["boxes_overlap_bev_gpu"](a, b, areas) == 1

    expected = _covered(a) @ _covered(b).T * 0.02**2
    # The kernels count corners as inside within a centimetre: some area is gained along the edges.
    np.testing.assert_allclose(areas.numpy(), expected, atol=0.08)
    assert (expected == 0).any()
    assert np.all(areas.numpy()[expected == 0] < 0.02)


def test_shares_of_a_union_in_a_table_and_row_by_row() -> None:
    a, b = _random_boxes(12, 0), _random_boxes(12, 1)
    areas, table, rows = torch.empty(12, 12), torch.empty(12, 12), torch.empty(12, 1)
    IOU["boxes_overlap_bev_gpu"](a, b, areas)
    IOU["boxes_iou_bev_cpu"](a, b, table)
    IOU["boxes_aligned_iou_bev_cpu"](a, b, rows)
    size_a, size_b = ((boxes[:, 3] * boxes[:, 4]) for boxes in (a, b))
    torch.testing.assert_close(table, areas / (size_a[:, None] + size_b - areas))
    torch.testing.assert_close(rows[:, 0], table.diagonal())
    IOU["paired_boxes_overlap_bev_gpu"](a, b, rows)
    torch.testing.assert_close(rows[:, 0], areas.diagonal())


def test_a_box_shares_all_of_itself() -> None:
    boxes, shares = _random_boxes(20, 2), torch.empty(20, 20)
    IOU["boxes_iou_bev_gpu"](boxes, boxes, shares)
    torch.testing.assert_close(shares.diagonal(), torch.ones(20))
    torch.testing.assert_close(shares, shares.T)


def _crowd() -> torch.Tensor:
    """60 boxes, half of them close to another."""
    boxes = _random_boxes(30, 3)
    return torch.cat((boxes, boxes + _random_boxes(30, 4) * 0.05))


def _survivors(shares: torch.Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for row in range(len(shares)):
        if all(shares[other, row] <= threshold for other in kept):
            kept.append(row)
    return kept


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.7])
def test_survivors_share_no_more_than_the_threshold(threshold: float) -> None:
    boxes, keep = _crowd(), torch.empty(60, dtype=torch.int64)
    shares = torch.empty(60, 60)
    IOU["boxes_iou_bev_gpu"](boxes, boxes, shares)

    count = IOU["nms_gpu"](boxes, keep, threshold)

    assert keep[:count].tolist() == _survivors(shares, threshold)
    assert 1 < count < 60


def test_suppression_of_unturned_boxes() -> None:
    boxes, keep = _crowd(), torch.empty(60, dtype=torch.int64)
    low, high = boxes[:, :2] - boxes[:, 3:5] / 2, boxes[:, :2] + boxes[:, 3:5] / 2
    side = (torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)).clamp(min=0)
    area, size = side.prod(-1), boxes[:, 3] * boxes[:, 4]
    count = IOU["nms_normal_gpu"](boxes, keep, 0.3)
    assert keep[:count].tolist() == _survivors(area / (size[:, None] + size - area), 0.3)
    assert count < 60


def test_boxes_by_their_corners_turn_the_other_way() -> None:
    boxes = _crowd()
    low, high = boxes[:, :2] - boxes[:, 3:5] / 2, boxes[:, :2] + boxes[:, 3:5] / 2
    corners = torch.cat((low, high, -boxes[:, 6:]), dim=1)
    keep, same = torch.empty(2, 60, dtype=torch.int64)
    count = IOU["nms_gpu"](boxes, keep, 0.3)
    assert OPS["ioubev_nms_cuda"]["nms_gpu"](corners, same, 0.3, 0) == count
    assert torch.equal(keep[:count], same[:count])
