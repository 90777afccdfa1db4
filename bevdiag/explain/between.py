"""Allocations that fit a message at a count that no predicted step has."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from bevdiag.explain.failure import Failure
from bevdiag.explain.match import Case, Match, agrees, distance_of, is_optional
from bevdiag.memory.simulate import walk


def between(failure: Failure, cases: Sequence[Case]) -> Iterator[Match]:
    """Allocations that have the size at a count between or beyond those that were predicted.

    Sizes and totals grow in proportion to a count that depends on values. Two walks of the same
    events therefore tell, for each allocation, at which count it would ask for the figure, and
    what would be allocated by then; the message's own total says which of them it was.
    """
    figure, capacity = failure.requested, failure.capacity_bytes
    pair = _alike(cases)
    if pair is None or figure is None or capacity is None or failure.allocated is None:
        return
    low, high = (walk(case.stream, case.target, until_oom=False) for case in pair)
    sizes, totals = (
        np.array([low.requested, high.requested]),
        np.array([low.allocated, high.allocated]),
    )
    limit = _share_of_largest(cases, pair)
    stream = pair[0].stream
    grown = np.flatnonzero(sizes[0] != sizes[1])
    for index, event in zip(stream.made[grown].tolist(), stream.allocs(grown), strict=True):
        if is_optional(event, pair[0].target):
            continue
        small, large = (int(size) for size in sizes[:, event.block])
        share = (figure.middle_bytes - small) / (large - small)
        before = totals[0, :index] + share * (totals[1, :index] - totals[0, :index])
        if not 0 <= share <= limit or not index or before.max() > capacity:
            continue  # there can be no such count, or memory would have run out earlier
        allocated = int(before[-1])
        match = Match(
            case=replace(pair[0], assumption=_at_count(pair, share)),
            event=index,
            alloc=event,
            nbytes=figure.middle_bytes,
            allocated_bytes=allocated,
            has_size=True,
            stops_here=False,
            agrees_with_stack=agrees(event, failure.stack),
            distance=distance_of(allocated, failure),
        )
        if match.is_near:
            yield match


def _alike(cases: Sequence[Case]) -> tuple[Case, Case] | None:
    """Two cases that differ in nothing but the count; None if there are none."""
    for first, second in combinations(sorted(cases, key=lambda case: case.count or 0), 2):
        one, other = first.stream.events, second.stream.events
        if (
            None not in (first.count, second.count)
            and first.count != second.count
            and first.target == second.target
            and np.array_equal(np.sign(one), np.sign(other))
            and [(a.module, a.op) for a in first.stream.allocs()]
            == [(a.module, a.op) for a in second.stream.allocs()]
        ):
            return first, second
    return None


def _share_of_largest(cases: Sequence[Case], pair: tuple[Case, Case]) -> float:
    """How far beyond the first of the two cases, in steps of their difference, counts can lie."""
    low, high = pair[0].count or 0, pair[1].count or 0
    return (max(case.count or 0 for case in cases) - low) / (high - low)


def _at_count(pair: tuple[Case, Case], share: float) -> str:
    low, high = pair[0].count or 0, pair[1].count or 0
    return f"about {round(low + share * (high - low)):,} voxels kept, which depends on values"
