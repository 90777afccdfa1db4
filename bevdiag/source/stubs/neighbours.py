"""Which points lie near which: the queries of PointNet++, Voxel R-CNN and PV-RCNN++.

As in the kernels, neighbours are taken in the order of the points, the first ones where a number
limits them, and distances are squared sums in single precision.

PV-RCNN++'s vector pooling lists the pairs in a table that its wrapper enlarges until all fit: their
number is memory. Where the centres have no values, the points mostly have, and bound it: no cube
holds more of them than the fullest eight cells of its size that touch.
"""

from collections.abc import Iterator
from functools import wraps
from typing import Any

import numpy as np
from torch import Tensor

from bevdiag.source.state import current, running
from bevdiag.source.stubs.compiled import (
    Array,
    Filled,
    Ints,
    array,
    chunks,
    ranks,
    remembered,
    samples,
)
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues

_MOST_CANDIDATES = 2**22
_HALVINGS = 4
"""How often the points are halved, for the first part of them that a query looks through."""
_MARGIN = 1.001
"""Cells a little larger than the radius, so that rounding hides no neighbour."""
_MOST_CELLS = 2**19
_PAIRS = "pairs"
_MOST_CUBES = 2**40


def ball_query_batch(
    centres: Array,
    points: Array,
    out: Filled,
    max_radius: float,
    min_radius: float = 0.0,
    counts: Filled = None,
) -> None:
    """Centres [B, M, 3], points [B, N, 3]; out [B, M, nsample] is left alone where none is near.

    From `min_radius` on; a point at the centre itself counts too. `counts` [B, M] get how many of a
    row's places are hits, as 3DSSD wants them.
    """
    for sample in range(len(centres)):
        met = _fill_balls(centres[sample], points[sample], min_radius, max_radius, out[sample])
        if counts is not None:
            # A row's hits differ, and the places that are left repeat the first one.
            hits = 1 + (out[sample] != out[sample][:, :1]).sum(axis=1)
            counts[sample][met] = hits[met]


def ball_query_stack(
    centres: Array,
    centre_counts: Array,
    points: Array,
    point_counts: Array,
    out: Filled,
    max_radius: float,
) -> None:
    """Out [M, nsample]: rows of the sample's own points; -1 first where none is near."""
    for mine, theirs in samples(centre_counts, point_counts):
        met = _fill_balls(centres[mine], points[theirs], 0.0, max_radius, out[mine])
        out[mine][~met, 0] = -1


@wraps(ball_query_stack)
def ball_query_stack_once(**named: Any) -> None:
    """Query balls as above, but leave the places alone that no hit is left for."""
    out: Array = named["out"]
    before = out.copy()
    ball_query_stack(**named)
    repeats = out == out[:, :1]
    repeats[:, 0] = False
    out[repeats] = before[repeats]


def _fill_balls(centres: Array, points: Array, least: float, radius: float, out: Array) -> Array:
    """Which centres have a point near; the rows of `out` of the others stay."""
    balls = remembered(_balls, (centres, points), least, radius, out.shape[1])
    met: Array = balls[:, 0] >= 0
    out[met] = balls[met]
    return met


def _balls(centres: Array, points: Array, least: float, radius: float, nsample: int) -> Array:
    """[M, nsample], -1 where no point is near; the first hit in the places that are left.

    The points are looked through part by part: centres that have all theirs are done.
    """
    balls = np.full((len(centres), nsample), -1, np.int32)
    taken = np.zeros(len(centres), np.int64)
    left = np.arange(len(centres))
    first = 0
    for last in [len(points) >> halving for halving in range(_HALVINGS, -1, -1)]:
        for rows, columns in pairs_within(centres[left], points[first:last], radius):
            rows, columns = left[rows], columns + first
            square = _squares(centres[rows] - points[columns])
            near = square < np.float32(radius) * np.float32(radius)
            if least:
                near &= (square >= np.float32(least) * np.float32(least)) | (square == 0)
            _fill_next(rows[near], columns[near], balls, taken)
        left, first = left[taken[left] < nsample], last
    return np.where(np.arange(nsample) < taken[:, None], balls, balls[:, :1])


def _fill_next(rows: Ints, columns: Array, out: Array, taken: Ints) -> None:
    """Put the hits of each row behind those that it has taken, as far as there is room."""
    place = taken[rows] + ranks(rows)
    fits = place < out.shape[1]
    out[rows[fits], place[fits]] = columns[fits]
    taken += np.bincount(rows, minlength=len(taken))


def _squares(difference: Array) -> Array:
    x, y, z = difference.T
    square: Array = x * x + y * y + z * z
    return square


def pairs_within(centres: Array, points: Array, reach: float) -> Iterator[tuple[Ints, Ints]]:
    """Rows of the centres and of the points that are no farther apart than `reach` on any axis.

    A few farther ones are among them. Ordered by centre, then by point; a centre's pairs come in
    one piece.
    """
    if not len(centres) or not len(points):
        return
    placed, placed_centres = _finite(points), _finite(centres)
    low = placed.min(axis=0)
    extent = float((placed.max(axis=0) - low).max())
    side = max(float(reach) * _MARGIN, extent / _MOST_CELLS, 1e-9)
    cells = np.floor((placed - low) / side).astype(np.int64) + 2
    # Two empty cells around the points: a centre outside looks into those.
    shape = cells.max(axis=0) + 3
    mine = np.clip(np.floor((placed_centres - low) / side) + 2, 1, shape - 2).astype(np.int64)
    keys = (cells[:, 0] * shape[1] + cells[:, 1]) * shape[2] + cells[:, 2]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    # The cells of one column follow each other: nine runs hold the neighbourhood.
    steps = np.arange(-1, 2)
    columns = (
        (mine[:, 0, None, None] + steps[:, None]) * shape[1] + mine[:, 1, None, None] + steps
    ).reshape(-1, 9) * shape[2] + mine[:, 2, None]
    starts = np.searchsorted(keys, columns - 1, side="left")
    lengths = np.searchsorted(keys, columns + 1, side="right") - starts
    ends = np.cumsum(lengths.sum(axis=1))
    first = 0
    while first < len(centres):
        done = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, done + _MOST_CANDIDATES, side="right")), first + 1)
        runs, begins = lengths[first:last].ravel(), starts[first:last].ravel()
        total = int(runs.sum())
        within = np.arange(total) - np.repeat(np.cumsum(runs) - runs, runs)
        found = order[np.repeat(begins, runs) + within]
        rows = np.repeat(np.arange(first, last), lengths[first:last].sum(axis=1))
        for centre, point in zip(centres.T, points.T, strict=True):
            near = np.abs(centre[rows] - point[found]) <= np.float32(side)
            rows, found = rows[near], found[near]
        sorting = np.argsort(rows * len(points) + found)
        yield rows[sorting], found[sorting]
        first = last


def _finite(points: Array) -> Array:
    """In double precision, and somewhere: what is not a number is near nothing anyway."""
    return np.where(np.isfinite(points), points, 0).astype(np.float64)


def voxel_query(
    depth: int,
    height: int,
    width: int,
    radius: float,
    z_range: int,
    y_range: int,
    x_range: int,
    centres: Array,
    points: Array,
    cells: Array,
    rows_of_cells: Array,
    out: Filled,
) -> None:
    """Centres [M, 3] in cells [M, 4] (sample, z, y, x); rows_of_cells [B, Z, Y, X], -1 for none."""
    axes = tuple(zip((depth, height, width), (z_range, y_range, x_range), strict=True))
    window = np.prod([2 * reach + 1 for _, reach in axes])
    for part in chunks(len(centres), int(window), _MOST_CANDIDATES):
        # Axis by axis: what few places each has, put together, are the cells of the window.
        place = cells[part, 0].astype(np.int64).reshape(-1, 1)
        inside = np.ones(place.shape, dtype=bool)
        for axis, (size, reach) in enumerate(axes):
            seen = cells[part, 1 + axis, None].astype(np.int64) + np.arange(-reach, reach + 1)
            is_there = (seen >= 0) & (seen < size)
            place = (place[..., None] * size + seen[:, None]).reshape(len(seen), -1)
            inside = (inside[..., None] & is_there[:, None]).reshape(len(seen), -1)
        found = rows_of_cells.reshape(-1)[np.where(inside, place, 0)]
        rows, offsets = np.nonzero(inside & (found >= 0))
        columns = found[rows, offsets]
        square = _squares(points[columns] - centres[part][rows])
        near = square <= np.float32(radius) * np.float32(radius)
        rows, columns, mine = rows[near], columns[near], out[part]
        taken = np.zeros(len(mine), np.int64)
        _fill_next(rows, columns, mine, taken)
        mine[...] = np.where(
            (np.arange(mine.shape[1]) < taken[:, None]) | (taken[:, None] == 0), mine, mine[:, :1]
        )
        mine[taken == 0, 0] = -1


def three_nearest_batch(unknown: Array, known: Array, squares: Filled, out: Filled) -> None:
    """Unknown [B, N, 3], known [B, M, 3]; squared distances and rows [B, N, 3]."""
    batch, count = out.shape[:2]
    # The kernel steps by three, however long the rows are that it is given.
    unknown, known = (
        rows.reshape(-1)[: batch * many * 3].reshape(batch, -1, 3)
        for rows, many in ((unknown, count), (known, known.shape[1]))
    )
    for sample in range(batch):
        _fill_nearest(unknown[sample], known[sample], squares[sample], out[sample])


def three_nearest_stack(
    unknown: Array,
    unknown_counts: Array,
    known: Array,
    known_counts: Array,
    squares: Filled,
    out: Filled,
) -> None:
    """Find the three nearest, samples one after another; rows are those of all samples' points."""
    for mine, theirs in samples(unknown_counts, known_counts):
        _fill_nearest(unknown[mine], known[theirs], squares[mine], out[mine])
        out[mine] += theirs.start


def _fill_nearest(unknown: Array, known: Array, squares: Array, out: Array) -> None:
    squares[...], out[...] = remembered(nearest, (unknown, known), 3)


def nearest(unknown: Array, known: Array, count: int) -> Array:
    """Squared distances to the nearest and their rows, [2, N, count].

    Infinite and 0 where there are fewer.
    """
    found = np.zeros((2, len(unknown), count))
    found[0] = np.inf
    for part in chunks(len(unknown), len(known), _MOST_CANDIDATES):
        square = np.zeros((part.stop - part.start, len(known)), np.float32)
        for axis in range(3):
            step = unknown[part, axis, None] - known[None, :, axis]
            square += step * step
        square[np.isnan(square)] = np.inf
        rows = np.arange(len(square))
        for place in range(min(count, len(known))):
            best = square.argmin(axis=1)
            found[:, part, place] = square[rows, best], best
            square[rows, best] = np.inf
    return found


def stacked_neighbours(
    points: Array,
    point_counts: Array,
    centres: Array,
    centre_counts: Array,
    found: Filled,
    start_len: Filled,
    total: Filled,
    reach: float,
    nsample: int,
    kind: int,
) -> None:
    """All neighbours of each centre, in a list, and where each centre's begin and how many.

    `kind` 1 is a ball, any other a cube. `total` gets their number even where the list is too
    short. On a GPU the centres come in any order.
    """
    start = 0
    limit = nsample if nsample > 0 else MOST_STACKED
    for mine, theirs in samples(centre_counts, point_counts):
        counts = np.zeros(mine.stop - mine.start, np.int64)
        for rows, columns in local_neighbours(centres[mine], points[theirs], reach, kind):
            kept = ranks(rows) < limit
            rows, columns = rows[kept], columns[kept] + theirs.start
            counts += np.bincount(rows, minlength=len(counts))
            room = found[start : start + len(columns)]
            room[:] = columns[: len(room)]
            start += len(columns)
        start_len[mine, 1] = counts
    start_len[:, 0] = np.cumsum(start_len[:, 1]) - start_len[:, 1]
    total[0] = pairs_found(start)


MOST_STACKED = 1000
"""The kernel keeps no more neighbours of a centre."""


def local_neighbours(
    centres: Array, points: Array, reach: float, kind: int
) -> Iterator[tuple[Ints, Ints]]:
    """Find the pairs in a ball (kind 1) or a cube, borders included."""
    for rows, columns in pairs_within(centres, points, reach):
        local = points[columns] - centres[rows]
        if kind == 1:
            near = _squares(local) <= np.float32(reach) * np.float32(reach)
        else:
            near = (np.abs(local) <= np.float32(reach)).all(axis=1)
        yield rows[near], columns[near]


def three_nearest_of_neighbours(
    points: Array,
    centres: Array,
    grid_centres: Array,
    out: Filled,
    squares: Filled,
    found: Array,
    start_len: Array,
) -> None:
    """Of each centre's own neighbours the three nearest to each of its grid's centres.

    Grid centres [M, grids, 3] and the outputs likewise; the nearest again where fewer are near, -1
    where none is.
    """
    grids = grid_centres.reshape(len(centres), -1, 3)
    places, distances = out.reshape(grids.shape), squares.reshape(grids.shape)
    most = int(start_len[:, 1].max(initial=0))
    for part in chunks(len(centres), max(most, 1) * grids.shape[1], _MOST_CANDIDATES):
        begins, lengths = start_len[part, 0, None], start_len[part, 1, None]
        exists = np.arange(most) < lengths
        listed = np.minimum(begins + np.arange(most), max(len(found) - 1, 0))
        rows = np.where(exists, found[listed], -1) if len(found) else np.full(exists.shape, -1)
        step = grids[part, :, None] - points[rows][:, None]
        square = np.where(exists[:, None], (step * step).sum(axis=-1), np.inf)
        for place in range(3):
            if place >= most:
                best, nearest = np.full(square.shape[:2], np.inf), np.full(square.shape[:2], -1)
            else:
                at = square.argmin(axis=-1)[..., None]
                best = np.take_along_axis(square, at, -1)[..., 0]
                nearest = np.take_along_axis(rows[:, None], at, -1)[..., 0]
                nearest = np.where(np.isinf(best), -1, nearest)
                np.put_along_axis(square, at, np.inf, -1)
            missing = nearest == -1
            if place:
                nearest = np.where(missing, places[part, :, 0], nearest)
                best = np.where(missing, distances[part, :, 0], best)
            places[part, :, place], distances[part, :, place] = nearest, best


def counted(kind: str, count: int) -> int:
    """Note a count that was computed; a trace that has no values is answered with it."""
    trace = running()
    if trace is not None and isinstance(trace.values, RehearsedValues):
        trace.values.counted(kind, count)
    return count


def pairs_found(count: int) -> int:
    """Return the number of pairs that an operator with values has found."""
    return counted(_PAIRS, count)


def assumed_pairs(points: Tensor, centres: Tensor, reach: float, limit: int, room: int) -> int:
    """Ask for the number of pairs without values.

    Args:
        points: [N, 3] of all samples.
        centres: [M, 3].
        reach: half the side of the cube around a centre.
        limit: most pairs of a centre, or all where it is not positive.
        room: what the code itself expects at most.
    """
    near = len(points) if points.is_meta else most_near(array(points), reach)
    total = len(centres) * (min(near, limit) if limit > 0 else near)
    values = current().values
    assert isinstance(values, AssumedValues)
    return values.count(
        total,
        expected=min(room, total),
        why="which points lie near; the room that the code provides for them is taken",
        kind=_PAIRS,
        lowest=0,
    )


def most_near(points: Array, reach: float) -> int:
    """At least as many as any cube with sides of 2 * `reach` holds of the points [N, 3]."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return 0
    cells = np.floor((points - points.min(axis=0)) / (2 * reach)).astype(np.int64)
    shape = cells.max(axis=0) + 2
    if shape.prod() > _MOST_CUBES:
        return len(points)
    found, counts = np.unique(
        np.ravel_multi_index(tuple(cells.T), tuple(shape)), return_counts=True
    )
    # A cube touches at most two cells an axis: the one that its lower corner lies in and the next.
    corners = np.array(np.meshgrid(*[(0, 1)] * 3)).reshape(3, -1)
    steps = np.array((shape[1] * shape[2], shape[2], 1))
    starts, places = np.unique(found[:, None] - steps @ corners, return_inverse=True)
    totals = np.bincount(places.ravel(), np.repeat(counts, corners.shape[1]), len(starts))
    return int(totals.max())
