"""How many pairs of a centre and a point lie near each other, where the centres have no values.

PV-RCNN++'s vector pooling lists the pairs in a table that its wrapper enlarges until all fit: their
number is memory. The points mostly have values, and bound it: no cube holds more of them than the
fullest eight cells of its size that touch.
"""

import numpy as np
from torch import Tensor

from bevdiag.source.state import current, running
from bevdiag.source.stubs.arrays import Array, array
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues

_KIND = "pairs"
_MOST_CELLS = 2**40


def counted(kind: str, count: int) -> int:
    """Note a count that was computed; a trace that has no values is answered with it."""
    trace = running()
    if trace is not None and isinstance(trace.values, RehearsedValues):
        trace.values.counted(kind, count)
    return count


def pairs_found(count: int) -> int:
    """Return the number of pairs that an operator with values has found."""
    return counted(_KIND, count)


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
        kind=_KIND,
        lowest=0,
    )


def most_near(points: Array, reach: float) -> int:
    """At least as many as any cube with sides of 2 * `reach` holds of the points [N, 3]."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return 0
    cells = np.floor((points - points.min(axis=0)) / (2 * reach)).astype(np.int64)
    shape = cells.max(axis=0) + 2
    if shape.prod() > _MOST_CELLS:
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
