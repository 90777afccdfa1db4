"""Boxes against boxes as seen from above, the points that they hold, and regions' pools.

The overlap of two is the polygon of their edges' crossings and of the corners of one that lie in
the other, within a margin, as in the kernels of iou3d_nms; computed in double precision. Here a box
is the x and y of its centre, length, width and heading; a form brings a caller's into that: [N, 5].

Where proposals have no values, their pools are judged by the boxes that a step knows, the ground
truth's: training samples proposals around them, so they say how many of a region's cells hold a
point.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.source.state import current
from bevdiag.source.stubs.compiled import Array, Filled, Op, chunks, ranks
from bevdiag.source.stubs.neighbours import counted, pairs_within
from bevdiag.trace.assumed_values import AssumedValues

Form = Callable[[Array], Array]
Floats = NDArray[np.float32]

MARGIN = 1e-2
OLD_MARGIN = 1e-5
"""In the kernels for boxes of two corners and an angle."""
AREA, OVER_UNION, OVER_FIRST = range(3)
"""What is said of two boxes: the area that they share, or that over a whole."""
_OF_POINTS, _OF_POINTS_ON_HOST = 1e-5, 1e-2
"""In the kernels for points in boxes."""
_SMALLEST = 1e-8
_SMALLEST_SIDE = 1e-9
"""Of a cell, in metres: a padded box has none."""
_MOST_POLYGONS = 2**16


def centred(boxes: Array) -> Array:
    """Boxes [N, 7] of x, y, z, length, width, height, heading."""
    return boxes[:, [0, 1, 3, 4, 6]].astype(np.float64)


def flat(boxes: Array) -> Array:
    """Boxes [N, 5 or more] of x, y, length, width, heading and what else there is."""
    return boxes[:, :5].astype(np.float64)


def unturned(boxes: Array) -> Array:
    """Boxes [N, 7] as if none were turned."""
    straight = centred(boxes)
    straight[:, 4] = 0
    return straight


def cornered(boxes: Array, offset: int = 0) -> Array:
    """Boxes [N, 4 or 5] of x1, y1, x2, y2 and an angle, which turns the other way round."""
    x1, y1, x2, y2, *angle = boxes.astype(np.float64).T
    heading = -angle[0] if angle else np.zeros(len(boxes))
    centre = (x1 + x2) / 2, (y1 + y2) / 2
    return np.stack((*centre, x2 - x1 + offset, y2 - y1 + offset, heading), axis=1)


def comparison(form: Form = centred, what: int = AREA, aligned: bool = False) -> Op:
    """Make the operator that compares boxes of a form, as `compare` does."""

    def compare_boxes(a: Array, b: Array, out: Filled) -> None:
        compare(form(a), form(b), out, what, aligned)

    return compare_boxes


def compare(a: Array, b: Array, out: Array, what: int, aligned: bool) -> None:
    """Boxes [N, 5] and [M, 5]: [N, M]; row by row where they are aligned, [N] or [N, 1]."""
    out[...] = 0
    for rows, columns, area in _aligned(a, b) if aligned else _meeting(a, b):
        whole = a[rows, 2] * a[rows, 3]
        if what == OVER_UNION:
            whole = whole + b[columns, 2] * b[columns, 3] - area
        share = area if what == AREA else area / np.maximum(whole, _SMALLEST)
        out.reshape(-1)[rows if aligned else rows * len(b) + columns] = share


def suppression(form: Form = centred, margin: float = MARGIN) -> Op:
    """Make the operator that suppresses boxes of a form, as `suppress` does."""

    def suppress_boxes(boxes: Array, keep: Filled, threshold: float) -> int:
        return suppress(form(boxes), keep, threshold, margin)

    return suppress_boxes


def suppress(boxes: Array, keep: Array, threshold: float, margin: float = MARGIN) -> int:
    """Boxes [N, 5], best first; `keep` [N] gets the survivors' rows, and their number is returned.

    A box falls to an earlier survivor whose intersection over union with it exceeds the threshold.
    A trace that has no values is answered with the number.
    """
    rivals: list[Array] = [np.empty(0, np.int64)] * len(boxes)
    for rows, columns, area in _meeting(boxes, boxes, margin, threshold):
        union = boxes[rows, 2] * boxes[rows, 3] + boxes[columns, 2] * boxes[columns, 3] - area
        over = area / np.maximum(union, _SMALLEST) > np.float32(threshold)
        rows, columns = rows[over], columns[over]
        ends = np.cumsum(np.bincount(rows, minlength=len(boxes)))
        for row in np.unique(rows):
            rivals[row] = columns[ends[row - 1] if row else 0 : ends[row]]
    falls = np.zeros(len(boxes), dtype=bool)
    for row, mine in enumerate(rivals):
        if not falls[row]:
            falls[mine] = True
    survivors = np.flatnonzero(~falls)
    keep[: len(survivors)] = survivors
    return counted("nms", len(survivors))


def _aligned(a: Array, b: Array) -> Iterator[tuple[Array, Array, Array]]:
    every = np.arange(len(a))
    for part in chunks(len(a), 1, _MOST_POLYGONS):
        yield every[part], every[part], _areas(a[part], b[part], MARGIN)


def _meeting(
    a: Array, b: Array, margin: float = MARGIN, threshold: float | None = None
) -> Iterator[tuple[Array, Array, Array]]:
    """Find the pairs that may overlap, in order, and their areas; a row's pairs are in one piece.

    With a threshold only pairs of a row and a later one, and of those only the ones whose
    intersection over union can exceed it.
    """
    reach_a, reach_b = (_reach(boxes) + margin for boxes in (a, b))
    size_a, size_b = ((boxes[:, 2] + 2 * margin) * (boxes[:, 3] + 2 * margin) for boxes in (a, b))
    farthest = float(reach_a.max(initial=0) + reach_b.max(initial=0))
    for rows, columns in pairs_within(_flat(a), _flat(b), farthest):
        if threshold is not None:
            later = rows < columns
            rows, columns = rows[later], columns[later]
        apart = np.abs(a[rows, :2] - b[columns, :2])
        half = np.stack((reach_a[rows], reach_b[columns]))
        # The frames share no more than this: sides cannot be longer than the shorter frame's.
        sides = np.minimum(half.sum(axis=0) - apart, 2 * half.min(axis=0))
        wanted = (sides > 0).all(axis=1)
        if threshold is not None:
            most = np.minimum(np.minimum(size_a[rows], size_b[columns]), sides.prod(axis=1))
            both = a[rows, 2] * a[rows, 3] + b[columns, 2] * b[columns, 3]
            wanted &= most >= (both - most) * (threshold - 1e-4)
        rows, columns = rows[wanted], columns[wanted]
        areas = [np.empty(0)]
        for piece in chunks(len(rows), 1, _MOST_POLYGONS):
            areas.append(_areas(a[rows[piece]], b[columns[piece]], margin))
        yield rows, columns, np.concatenate(areas)


def _flat(boxes: Array) -> Array:
    """Return the centres [N, 3], all at one height."""
    return np.concatenate((boxes[:, :2], np.zeros((len(boxes), 1))), axis=1)


def _reach(boxes: Array) -> Array:
    """Half the sides of the upright frame around each box: [N, 2]."""
    cos, sin = np.abs(np.cos(boxes[:, 4])), np.abs(np.sin(boxes[:, 4]))
    x, y = np.abs(boxes[:, 2]) / 2, np.abs(boxes[:, 3]) / 2
    return np.stack((x * cos + y * sin, x * sin + y * cos), axis=1)


def _areas(a: Array, b: Array, margin: float) -> Array:
    """Overlaps of boxes [K, 5] and [K, 5], row by row: [K]."""
    centre = a[:, :2]
    corners_a, corners_b = _corners(a, centre), _corners(b, centre)
    crossing, crosses = _crossings(corners_a, corners_b)
    points = np.concatenate((crossing, corners_b, corners_a), axis=1)
    inside_a, inside_b = (
        _inside(box, corners, centre, margin) for box, corners in ((a, corners_b), (b, corners_a))
    )
    counted = np.concatenate((crosses, inside_a, inside_b), axis=1)
    middle = np.where(counted[..., None], points, 0).sum(axis=1) / np.maximum(
        counted.sum(axis=1), 1
    ).reshape(-1, 1)
    around = points - middle[:, None]
    angle = np.where(counted, np.arctan2(around[..., 1], around[..., 0]), np.inf)
    order = angle.argsort(axis=1)
    ring = np.take_along_axis(points, order[..., None], axis=1)
    first = ring[:, :1]
    # What does not count comes last and adds nothing when it lies on the first point.
    ring = np.where(np.take_along_axis(counted, order, axis=1)[..., None], ring, first) - first
    area: Array = np.abs(_cross(ring[:, :-1], ring[:, 1:]).sum(axis=1)) / 2
    return area


def _corners(boxes: Array, origin: Array) -> Array:
    """[K, 4, 2] around each box, relative to the origins [K, 2]."""
    cos, sin = np.cos(boxes[:, 4, None]), np.sin(boxes[:, 4, None])
    x = boxes[:, 2, None] / 2 * np.array((-1, 1, 1, -1))
    y = boxes[:, 3, None] / 2 * np.array((-1, -1, 1, 1))
    turned = np.stack((x * cos - y * sin, x * sin + y * cos), axis=-1)
    centred: Array = turned + (boxes[:, :2] - origin)[:, None]
    return centred


def _crossings(a: Array, b: Array) -> tuple[Array, Array]:
    """Where each edge of one polygon crosses each of the other: [K, 16, 2] and whether it does."""
    start_a, start_b = a[:, :, None], b[:, None, :]
    along_a, along_b = np.roll(a, -1, 1)[:, :, None] - start_a, np.roll(b, -1, 1)[:, None] - start_b
    begins, ends = _cross(along_b, start_a - start_b), _cross(along_b, start_a + along_a - start_b)
    sides = (
        _cross(along_a, start_b - start_a),
        _cross(along_a, start_b + along_b - start_a),
    )
    crosses = (begins * ends < 0) & (sides[0] * sides[1] < 0)
    whole = np.where(crosses, begins - ends, 1)
    points = start_a + along_a * (begins / whole)[..., None]
    return points.reshape(len(a), 16, 2), crosses.reshape(len(a), 16)


def _inside(boxes: Array, points: Array, origin: Array, margin: float) -> Array:
    """Whether points [K, 4, 2] relative to the origins lie in the boxes [K, 5]: [K, 4]."""
    x, y = np.moveaxis(points - (boxes[:, :2] - origin)[:, None], -1, 0)
    cos, sin = np.cos(boxes[:, 4, None]), np.sin(boxes[:, 4, None])
    across = np.abs(x * cos + y * sin) < boxes[:, 2, None] / 2 + margin
    inside: Array = across & (np.abs(y * cos - x * sin) < boxes[:, 3, None] / 2 + margin)
    return inside


def _cross(a: Array, b: Array) -> Array:
    product: Array = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def in_box_frames(boxes: Floats, points: Floats) -> Floats:
    """Points [N, 3] as seen from boxes [T, 7], [T, N, 3]: metres from the centre, unrotated."""
    local = points[None] - boxes[:, None, :3]
    cos, sin = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    x = local[..., 0] * cos + local[..., 1] * sin
    y = local[..., 1] * cos - local[..., 0] * sin
    seen: Floats = np.stack((x, y, local[..., 2]), axis=-1)
    return seen


def _points_in(box: Array, points: Array, margin: float) -> tuple[Array, Array]:
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
            rows, _ = _points_in(boxes[sample, box], points[sample], _OF_POINTS)
            found[rows] = box


def points_in_boxes_cpu(boxes: Array, points: Array, result: Filled) -> None:
    """Boxes [T, 7], points [N, 3]; result [T, N], 1 inside."""
    result[...] = 0
    for box, found in zip(boxes, result, strict=True):
        found[_points_in(box, points, _OF_POINTS_ON_HOST)[0]] = 1


def pool_points(
    points: Array, boxes: Array, features: Array, pooled: Filled, empty: Filled
) -> None:
    """roipoint_pool3d: the first points in each box, again and again until there are enough.

    Points [B, N, 3], boxes [B, M, 7], features [B, N, C]; pooled [B, M, samples, 3 + C], left alone
    where `empty` [B, M] becomes 1.
    """
    wanted = pooled.shape[2]
    for sample, region in np.ndindex(*boxes.shape[:2]):
        rows, _ = _points_in(boxes[sample, region], points[sample], _OF_POINTS)
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
        inside, local = _points_in(box, points, _OF_POINTS)
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
