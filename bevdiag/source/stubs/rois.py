"""What boxes hold: points inside, and the pools of regions of interest.

Where proposals have no values, their pools are judged by the boxes that a step knows, the ground
truth's: training samples proposals around them, so they say how many of a region's cells hold a
point.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.source.state import current
from bevdiag.source.stubs.arrays import Array, Filled, ranks
from bevdiag.trace.assumed_values import AssumedValues

Floats = NDArray[np.float32]

_MARGIN = 1e-5
_MARGIN_ON_THE_HOST = 1e-2
_SMALLEST_SIDE = 1e-9
"""Of a cell, in metres: a padded box has none."""


def in_box_frames(boxes: Floats, points: Floats) -> Floats:
    """Points [N, 3] as seen from boxes [T, 7], [T, N, 3]: metres from the centre, unrotated."""
    local = points[None] - boxes[:, None, :3]
    cos, sin = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    x = local[..., 0] * cos + local[..., 1] * sin
    y = local[..., 1] * cos - local[..., 0] * sin
    seen: Floats = np.stack((x, y, local[..., 2]), axis=-1)
    return seen


def _inside(box: Array, points: Array, margin: float) -> tuple[Array, Array]:
    """Find the rows of the points in one box, in order, and the points as seen from it.

    The margin is that of the kernels: sideways, not upwards.
    """
    rows = np.flatnonzero(np.abs(points[:, 2] - box[2]) <= box[5] / 2)
    local = in_box_frames(box[None], points[rows])[0]
    inside = (np.abs(local[:, :2]) < box[3:5] / 2 + np.float32(margin)).all(axis=1)
    return rows[inside], local[inside]


def points_in_boxes_gpu(boxes: Array, points: Array, result: Filled) -> None:
    """Boxes [B, T, 7], points [B, N, 3]; result [B, N], the first box, as it was outside."""
    for sample, found in enumerate(result):
        for box in reversed(range(boxes.shape[1])):
            rows, _ = _inside(boxes[sample, box], points[sample], _MARGIN)
            found[rows] = box


def points_in_boxes_cpu(boxes: Array, points: Array, result: Filled) -> None:
    """Boxes [T, 7], points [N, 3]; result [T, N], 1 inside."""
    result[...] = 0
    for box, found in zip(boxes, result, strict=True):
        found[_inside(box, points, _MARGIN_ON_THE_HOST)[0]] = 1


def pool_points(
    points: Array, boxes: Array, features: Array, pooled: Filled, empty: Filled
) -> None:
    """roipoint_pool3d: the first points in each box, again and again until there are enough.

    Points [B, N, 3], boxes [B, M, 7], features [B, N, C]; pooled [B, M, samples, 3 + C], left alone
    where `empty` [B, M] becomes 1.
    """
    wanted = pooled.shape[2]
    for sample, region in np.ndindex(*boxes.shape[:2]):
        rows, _ = _inside(boxes[sample, region], points[sample], _MARGIN)
        if not len(rows):
            empty[sample, region] = 1
            continue
        rows = np.resize(rows[:wanted], wanted)
        pooled[sample, region, :, :3] = points[sample, rows]
        pooled[sample, region, :, 3:] = features[sample, rows]


def pool_cells(
    rois: Array,
    points: Array,
    features: Array,
    argmax: Filled,
    rows_of_cells: Filled,
    pooled: Filled,
    method: int,
) -> None:
    """roiaware_pool3d: maximum (method 0) or mean of the points in each cell of each box.

    Boxes [R, 7], points [N, 3], features [N, C]; pooled and argmax [R, x, y, z, C], and the cells'
    rows [R, x, y, z, 1 + most] behind their number. A cell takes no more points than that.
    """
    shape = rows_of_cells.shape[1:4]
    keys, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for region, box in enumerate(rois):
        inside, local = _inside(box, points, _MARGIN)
        side = np.maximum(box[3:6] / np.array(shape, np.float32), _SMALLEST_SIDE)
        place = ((local + box[3:6] / 2) / side).astype(np.int64)
        x, y, z = np.clip(place, 0, np.array(shape) - 1).T
        keys.append(((region * shape[0] + x) * shape[1] + y) * shape[2] + z)
        rows.append(inside)
    key, row = np.concatenate(keys), np.concatenate(rows)
    order = np.argsort(key, kind="stable")
    key, row = key[order], row[order]
    rank = ranks(key)
    kept = rank < rows_of_cells.shape[4] - 1
    key, row, rank = key[kept], row[kept], rank[kept]
    table = rows_of_cells.reshape(-1, rows_of_cells.shape[4])
    table[key, rank + 1] = row
    begins = np.flatnonzero(rank == 0)
    cells, counts = key[begins], np.diff(np.append(begins, len(key)))
    table[cells, 0] = counts
    out, best = pooled.reshape(-1, pooled.shape[-1]), argmax.reshape(-1, argmax.shape[-1])
    if method == 0:
        best[...] = -1
    if not len(key):
        return
    taken = features[row]
    if method != 0:
        out[cells] = np.add.reduceat(taken, begins) / counts[:, None]
        return
    out[cells] = np.maximum.reduceat(taken, begins)
    won = np.where(taken == np.repeat(out[cells], counts, axis=0), row[:, None], len(points))
    best[cells] = np.minimum.reduceat(won, begins)


def occupied_cells(boxes: Floats, points: Floats, cells: tuple[int, int, int]) -> int:
    """How many of all the boxes' cells (x, y, z of each box) hold one of the points."""
    place = (in_box_frames(boxes, points) / boxes[:, None, 3:6] + 0.5) * cells
    inside = ((place >= 0) & (place < cells)).all(axis=-1)
    box = inside.nonzero()[0]
    x, y, z = place[inside].astype(np.int64).T
    return len(np.unique(((box * cells[0] + x) * cells[1] + y) * cells[2] + z))


def expect_occupied_cells(points: Tensor, pooled: Tensor) -> int:
    """roiaware_pool3d's forward without values: [rois, x, y, z, channels] of points [N, 3]."""
    boxes = current().boxes
    if points.is_meta or boxes is None:
        return 1
    shape = pooled.shape[:4]
    cells = (shape[1], shape[2], shape[3])
    # The call does not say whose points they are: the boxes that hold most of them are theirs.
    of_samples, cloud = boxes.numpy(), points.numpy()
    most = max(occupied_cells(of_sample[:, :7], cloud, cells) for of_sample in of_samples)
    share = most / max(boxes.shape[1] * cells[0] * cells[1] * cells[2], 1)
    values = current().values
    assert isinstance(values, AssumedValues)
    values.expect_share(
        cells,
        share,
        "cells of the sampled regions that hold a point; as many as in the ground truth's boxes "
        f"({share:.2%}) are taken to",
    )
    return 1
