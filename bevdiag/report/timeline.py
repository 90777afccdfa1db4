"""The step's memory curve, reduced to a width without losing its peaks."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from bevdiag.prediction.result import TimelinePoint


def phase_stretches(points: Sequence[TimelinePoint]) -> list[tuple[str, list[TimelinePoint]]]:
    """Split the points phase by phase, in order."""
    return [(phase, list(group)) for phase, group in groupby(points, lambda p: p.phase)]


def reduce_stretch(points: Sequence[TimelinePoint], count: int) -> list[TimelinePoint]:
    """`count` points for `points`, each with the highest figures of its share of them.

    A share is never empty: fewer points than `count` are repeated.
    """
    reduced = []
    for number in range(count):
        start = number * len(points) // count
        stop = max(start + 1, (number + 1) * len(points) // count)
        highest = max(points[start:stop], key=lambda point: point.allocated_bytes)
        reserved = max(point.reserved_bytes for point in points[start:stop])
        reduced.append(replace(highest, reserved_bytes=reserved))
    return reduced
