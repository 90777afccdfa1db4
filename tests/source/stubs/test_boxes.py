"""Rotated overlaps against a count of fine grid points, and suppression against its definition."""

import numpy as np
import pytest
import torch

from bevdiag.source.stubs.boxes import in_box_frames, occupied_cells
from bevdiag.source.stubs.compiled_ops import OPS

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


ROI_AWARE = OPS["roiaware_pool3d_cuda"]

BOXES = np.array([[10, 0, 0, 4, 2, 2, 0], [0, 0, 0, 4, 2, 2, np.pi / 2]], dtype=np.float32)


def test_points_are_seen_from_each_box() -> None:
    seen = in_box_frames(BOXES, np.array([[10, 1, 0]], dtype=np.float32))
    np.testing.assert_allclose(seen[0, 0], (0, 1, 0), atol=1e-6)
    np.testing.assert_allclose(seen[1, 0], (1, -10, 0), atol=1e-5)


def test_each_cell_counts_once_whatever_it_holds() -> None:
    in_one_cell = [[8.1, -0.9, -0.9], [8.2, -0.8, -0.8]]
    elsewhere = [[11.9, 0.9, 0.9], [0.9, 1.9, 0.9]]
    outside = [[10, 0, 1.1], [5, 5, 5]]
    points = np.array(in_one_cell + elsewhere + outside, dtype=np.float32)
    assert occupied_cells(BOXES, points, (4, 2, 2)) == 3


def test_no_point_inside_occupies_no_cell() -> None:
    assert occupied_cells(BOXES, np.full((3, 3), 50, dtype=np.float32), (4, 4, 4)) == 0


def test_points_in_turned_boxes() -> None:
    # A box of 4 x 2 x 2 m turned by 90 degrees is 2 wide in x and 4 in y.
    boxes = torch.tensor([[[0.0, 0, 0, 4, 2, 2, torch.pi / 2], [10, 0, 0, 2, 2, 2, 0]]])
    points = torch.tensor([[[0.0, 1.9, 0], [1.9, 0, 0], [10.5, 0.5, 0.5], [0, 0, 1.5]]])
    found = torch.full((1, 4), -1, dtype=torch.int32)
    ROI_AWARE["points_in_boxes_gpu"](boxes, points, found)
    assert found.tolist() == [[0, -1, 1, -1]]
    table = torch.zeros(2, 4, dtype=torch.int32)
    ROI_AWARE["points_in_boxes_cpu"](boxes[0], points[0], table)
    assert table.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_a_point_in_two_boxes_belongs_to_the_first() -> None:
    boxes = torch.tensor([[[9.0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 2, 2, 2, 0], [0, 0, 0, 4, 4, 4, 0]]])
    found = torch.full((1, 2), -1, dtype=torch.int32)
    ROI_AWARE["points_in_boxes_gpu"](boxes, torch.tensor([[[0.5, 0, 0], [1.5, 0, 0]]]), found)
    assert found.tolist() == [[1, 2]]


def test_margins_are_sideways_and_larger_on_the_host() -> None:
    box = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]])
    points = torch.tensor([[1.000001, 0, 0], [1.005, 0, 0], [0, 0, 1.005], [0, 1.02, 0]])
    found, table = torch.full((1, 4), -1).int(), torch.zeros(1, 4).int()
    ROI_AWARE["points_in_boxes_gpu"](box[None], points[None], found)
    ROI_AWARE["points_in_boxes_cpu"](box, points, table)
    assert found.tolist() == [[0, -1, -1, -1]]
    assert table.tolist() == [[1, 1, 0, 0]]


def test_padded_boxes_hold_no_points() -> None:
    found = torch.full((1, 1), -1, dtype=torch.int32)
    ROI_AWARE["points_in_boxes_gpu"](torch.zeros(1, 3, 7), torch.full((1, 1, 3), 0.1), found)
    assert found.tolist() == [[-1]]


def _cloud_and_regions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    points = torch.rand(80, 3, generator=random) * 6 - 3
    rois = torch.rand(4, 7, generator=random) * 2 - 1
    rois[:, 3:6] += 4
    rois[3, :2] = 50
    return rois, points, torch.rand(80, 5, generator=random) - 0.5


def _cell_of(roi: torch.Tensor, point: torch.Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The cell of a point in a box, empty outside of it."""
    x, y, z = (point - roi[:3]).tolist()
    cos, sin = roi[6].cos().item(), roi[6].sin().item()
    local = (x * cos + y * sin, y * cos - x * sin, z)
    sides = roi[3:6].tolist()
    if any(abs(at) > side / 2 for at, side in zip(local, sides, strict=True)):
        return ()
    places = zip(local, sides, shape, strict=True)
    return tuple(min(int((at + side / 2) / side * n), n - 1) for at, side, n in places)


@pytest.mark.parametrize("method", [0, 1])
def test_cells_of_regions_pool_their_first_points(method: int) -> None:
    rois, points, features = _cloud_and_regions()
    shape, most = (2, 3, 2), 4
    pooled, argmax = torch.zeros(4, *shape, 5), torch.zeros(4, *shape, 5).int()
    rows = torch.zeros(4, *shape, most).int()

    ROI_AWARE["forward"](rois, points, features, argmax, rows, pooled, method)

    limited = False
    for region, cell in np.ndindex(4, 12):
        place = np.unravel_index(cell, shape)
        held = [k for k in range(80) if _cell_of(rois[region], points[k], shape) == place]
        limited |= len(held) > most - 1
        held = held[: most - 1]
        assert rows[region][place].tolist()[: 1 + len(held)] == [len(held), *held]
        taken = features[held]
        if not held:
            assert not pooled[region][place].any()
        elif method == 0:
            assert torch.equal(pooled[region][place], taken.amax(0))
            assert argmax[region][place].tolist() == [held[k] for k in taken.argmax(0)]
        else:
            torch.testing.assert_close(pooled[region][place], taken.mean(0))
        if method == 0 and not held:
            assert argmax[region][place].tolist() == [-1] * 5
    assert limited


def test_regions_repeat_their_points_until_there_are_enough() -> None:
    rois, points, features = _cloud_and_regions()
    pooled, empty = torch.zeros(1, 4, 16, 8), torch.zeros(1, 4).int()

    OPS["roipoint_pool3d_cuda"]["forward"](points[None], rois[None], features[None], pooled, empty)

    assert empty.tolist() == [[0, 0, 0, 1]]
    for region in range(3):
        held = [k for k in range(80) if _cell_of(rois[region], points[k], (1, 1, 1))]
        rows = [held[k % len(held)] for k in range(16)]
        assert torch.equal(pooled[0, region], torch.cat((points, features), dim=1)[rows])
    assert not pooled[0, 3].any()
