"""Points picked, grouped, interpolated and summed into cells: PointNet++ and what came after it.

A batch is [B, channels, points] with rows counted in each sample; a stack is [points, channels] of
all samples one after another.
"""

from typing import Any

import numpy as np
from torch import Tensor

from bevdiag.source.stubs.compiled import (
    Array,
    Filled,
    Ints,
    array,
    chunks,
    lose_values,
    ranks,
    remembered,
    samples,
)
from bevdiag.source.stubs.neighbours import assumed_pairs, local_neighbours, pairs_found

_FAR = 1e10
"""Farther than any point, as the wrappers fill the scratch buffer."""
_MOST_GATHERED = 2**24
_MEAN = 0
"""The method of vector pooling that sums."""


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


def vector_pool(
    xyz: Tensor,
    xyz_counts: Tensor,
    features: Tensor,
    centres: Tensor,
    centre_counts: Tensor,
    pooled: Tensor,
    local_xyz: Tensor,
    cell_counts: Tensor,
    grouped: Tensor,
    nx: int,
    ny: int,
    nz: int,
    reach: float,
    use_xyz: int,
    most: int,
    nsample: int,
    kind: int,
    method: int,
) -> int:
    """Sum the points in each cell around each centre (method 0), or take one point a cell.

    Args:
        xyz: [N, 3] of all samples, counted in `xyz_counts`.
        xyz_counts: [B].
        features: [N, C].
        centres: [M, 3], counted in `centre_counts`.
        centre_counts: [B].
        pooled: [M, cells * channels a cell], zeros.
        local_xyz: [M, cells * 3], zeros; written where `use_xyz`.
        cell_counts: [M, cells], zeros.
        grouped: [most, 3]: point, centre and cell of each pair.
        nx: cells along x.
        ny: cells along y.
        nz: cells along z.
        reach: half the side of the cube of cells.
        use_xyz: whether to write `local_xyz`.
        most: pairs that `grouped` holds.
        nsample: most pairs of a centre, or all where it is not positive.
        kind: of neighbourhood, 1 for a ball, any other for a cube.
        method: 0 or 1.

    Returns:
        The number of pairs, also where it exceeds `most`: the wrapper then tries again with room
        for it. Without coordinates it is an assumption. A GPU counts more where `nsample` and
        `most` are exceeded together.
    """
    if any(tensor.is_meta for tensor in (xyz, xyz_counts, centres, centre_counts)):
        lose_values((pooled, local_xyz, cell_counts, grouped))
        return assumed_pairs(xyz, centres, reach, nsample, most)
    known = None if any(t.is_meta for t in (features, pooled, local_xyz)) else array(features)
    if known is None:
        lose_values((pooled, local_xyz))
    points, around = array(xyz), array(centres)
    total = 0
    for mine, theirs in samples(array(centre_counts), array(xyz_counts)):
        for rows, columns in local_neighbours(around[mine], points[theirs], reach, kind):
            rows, columns = rows + mine.start, columns + theirs.start
            local = points[columns] - around[rows]
            sides = np.array([reach * 2 / size for size in (nx, ny, nz)], np.float32)
            place = np.floor((local + np.float32(reach)) / sides).astype(np.int64)
            cell = (place[:, 0] * ny + place[:, 1]) * nz + place[:, 2]
            key = rows * (nx * ny * nz) + np.clip(cell, 0, nx * ny * nz - 1)
            order = np.argsort(key, kind="stable")
            if method != _MEAN:
                # The first point of a cell stands for it.
                order = np.sort(order[ranks(key[order]) == 0])
            if nsample > 0:
                order = np.sort(order)
                order = order[ranks(rows[order]) < nsample]
            order = order[np.argsort(key[order], kind="stable")]
            rows, columns, key, local = rows[order], columns[order], key[order], local[order]
            if not grouped.is_meta:
                room = array(grouped)[total : total + len(rows)]
                pairs = np.stack((columns, rows, key % (nx * ny * nz)), axis=1)
                room[...] = pairs[: len(room)]
            total += len(rows)
            if not cell_counts.is_meta:
                _add_rows(key, np.ones((len(key), 1), np.int32), array(cell_counts))
            if known is not None:
                channels = pooled.shape[1] // (nx * ny * nz)
                folded = known[columns].reshape(len(columns), -1, channels)
                # One point a cell overwrites: of the channels that share a place the last stays.
                share = folded.sum(axis=1) if method == _MEAN else folded[:, -1]
                _add_rows(key, share, array(pooled))
                if use_xyz:
                    _add_rows(key, local, array(local_xyz))
    return pairs_found(total)


def _add_rows(key: Ints, values: Array, out: Array) -> None:
    """Add values [K, C] to `out`, seen as rows of C, at `key`, which is in order."""
    if len(key):
        begins = np.flatnonzero(ranks(key) == 0)
        out.reshape(-1, values.shape[1])[key[begins]] += np.add.reduceat(values, begins)


def bev_pool(
    features: Tensor,
    geometry: Tensor,
    lengths: Any,
    starts: Any,
    b: int,
    d: int,
    h: int,
    w: int,
) -> Tensor:
    """Features [N, C] in runs of one cell each, [B, D, H, W, C]; cells [N, 4] are y, x, z, sample.

    The names are those of the kernel: its first coordinate runs along H.
    """
    # Code that keeps its grid in a tensor hands over its elements, which pybind takes as well.
    pooled = features.new_zeros((*map(int, (b, d, h, w)), features.shape[1]))
    needed = (features, geometry, starts)
    if any(not isinstance(tensor, Tensor) or tensor.is_meta for tensor in needed) or not len(
        features
    ):
        return pooled
    begins = array(starts)
    y, x, z, sample = array(geometry)[begins].T
    array(pooled)[sample, z, y, x] = np.add.reduceat(array(features), begins)
    return pooled


def bev_pool_backward(grad: Tensor, geometry: Tensor, *_: Any) -> Tensor:
    """[B, D, H, W, C] to [N, C]; no rehearsal goes backward."""
    return grad.new_zeros((len(geometry), grad.shape[-1]))
