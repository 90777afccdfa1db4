"""Points picked, grouped and interpolated: PointNet++'s operators on batches and on stacks.

A batch is [B, channels, points] with rows counted in each sample; a stack is [points, channels] of
all samples one after another.
"""

from typing import Any

import numpy as np

from bevdiag.source.stubs.arrays import Array, Filled, chunks, remembered, samples

_FAR = 1e10
"""Farther than any point, as the wrappers fill the scratch buffer."""
_MOST_GATHERED = 2**24


def farthest_batch(points: Array, scratch: Filled, out: Filled) -> None:
    """Points [B, N, 3]; out [B, count]."""
    for cloud, picked in zip(points, out, strict=True):
        picked[...] = remembered(farthest_points, (cloud,), len(picked))


def farthest_by_distance(squares: Array, scratch: Filled, out: Filled) -> None:
    """Pick points by their distances [B, N, N]."""
    for rows, picked in zip(squares, out, strict=True):
        picked[...] = _picked(len(rows), len(picked), rows.__getitem__)


def farthest_stack(points: Array, scratch: Filled, sizes: Array, out: Filled, counts: Any) -> None:
    """Out [sum of counts]: rows of each sample's own points."""
    wanted = np.broadcast_to(np.asarray(counts), np.shape(sizes))
    for mine, theirs in samples(wanted, sizes):
        out[mine] = remembered(farthest_points, (points[theirs],), mine.stop - mine.start)


def farthest_points(points: Array, count: int) -> Array:
    """Pick the first point, then again and again the one that is farthest from all before it."""
    columns = np.ascontiguousarray(points.T, np.float32)
    square: Array = np.empty(len(points), np.float32)
    step = np.empty_like(square)

    def squares(last: int) -> Array:
        square[:] = 0
        for column in columns:
            np.subtract(column, column[last], out=step)
            np.multiply(step, step, out=step)
            np.add(square, step, out=square)
        return square

    return _picked(len(points), count, squares)


def _picked(total: int, count: int, distances: Any) -> Array:
    picked = np.zeros(count, np.int32)
    nearest = np.full(total, _FAR, np.float32)
    for place in range(1, count if total else 0):
        # Not a number is no distance, in the kernels either.
        np.fmin(nearest, distances(int(picked[place - 1])), out=nearest)
        picked[place] = nearest.argmax()
    return picked


def gather_batch(points: Array, rows: Array, out: Filled) -> None:
    """Points [B, C, N] at rows [B, ...]: [B, C, ...]."""
    for cloud, wanted, found in zip(points, rows, out, strict=True):
        np.take(cloud, wanted, axis=1, out=found, mode="clip")


def group_stack(
    features: Array, feature_counts: Array, rows: Array, row_counts: Array, out: Filled
) -> None:
    """Features [N, C] at each sample's own rows [M, nsample]: [M, C, nsample]."""
    for mine, theirs in samples(row_counts, feature_counts):
        own, wanted, result = features[theirs], rows[mine], out[mine]
        for part in chunks(len(wanted), result[:1].size, _MOST_GATHERED):
            result[part] = own[wanted[part]].transpose(0, 2, 1)


def interpolate_batch(points: Array, rows: Array, weights: Array, out: Filled) -> None:
    """Points [B, C, M] at rows [B, N, 3], weighted: [B, C, N]."""
    for sample in range(len(points)):
        found = points[sample][:, rows[sample]]
        out[sample] = (found * weights[sample]).sum(axis=-1)


def interpolate_stack(features: Array, rows: Array, weights: Array, out: Filled) -> None:
    """Features [M, C] at rows [N, 3], weighted: [N, C]."""
    out[...] = sum(features[rows[:, k]] * weights[:, k, None] for k in range(3))
