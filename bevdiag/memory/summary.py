"""What the totals after each event say about the run: peaks, holders, phases, modules."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bevdiag.memory.events import Category, EventStream, Ints, PhaseSection, ancestors
from bevdiag.memory.profile import (
    LiveBlock,
    MemoryProfile,
    PeakMoment,
    PhaseUse,
    Timeline,
    Totals,
)
from bevdiag.memory.requests import ConvCall


def summarize(stream: EventStream, totals: Totals) -> MemoryProfile:
    """Return the profile of a run that left these totals."""
    sections = stream.sections(len(totals.allocated))
    last_step = sections[-1].step
    last = [part for part in sections if part.step == last_step]
    steady = [part for part in sections if part.step >= 2] or last
    first = [part for part in sections if part.step == 1]
    peak = _peak(stream, totals, steady)
    holders = _alive_at(stream, totals, peak.event)
    by_category: Counter[Category] = Counter()
    for holder in holders:
        by_category[holder.alloc.category] += holder.nbytes
    return MemoryProfile(
        peak=peak,
        peak_reserved_bytes=max(_highest(totals.reserved, part) for part in steady),
        first_step=_peak(stream, totals, first) if first else None,
        max_reserved_bytes=totals.max_reserved_bytes,
        holders=holders,
        by_category=dict(by_category.most_common()),
        phases=tuple(
            PhaseUse(
                phase=part.phase,
                peak_allocated_bytes=_highest(totals.allocated, part),
                allocated_after_bytes=int(totals.allocated[part.stop - 1]),
            )
            for part in last
        ),
        timeline=Timeline(
            last[0].start, totals.allocated[last[0].start :], totals.reserved[last[0].start :]
        ),
        module_peaks=_module_peaks(stream, totals, steady),
        workspaces=_workspaces(stream, totals),
        largest_request=_largest(stream, totals),
        refusal=totals.refusal,
        unmodelled=stream.unmodelled,
    )


def _highest(values: Ints, part: PhaseSection) -> int:
    return int(values[part.start : part.stop].max())


def _peak(stream: EventStream, totals: Totals, parts: Sequence[PhaseSection]) -> PeakMoment:
    part = max(parts, key=lambda part: _highest(totals.allocated, part))
    index = part.start + int(totals.allocated[part.start : part.stop].argmax())
    block = int(stream.events[index])
    alloc = stream.alloc(block) if block >= 0 else None
    return PeakMoment(
        event=index,
        step=part.step,
        phase=part.phase,
        module=alloc.module if alloc else "",
        op=alloc.op if alloc else "",
        allocated_bytes=int(totals.allocated[index]),
    )


def _alive_at(stream: EventStream, totals: Totals, event: int) -> tuple[LiveBlock, ...]:
    alive = np.flatnonzero((stream.made <= event) & (stream.freed > event) & (totals.granted > 0))
    largest_first = alive[np.argsort(-totals.granted[alive], kind="stable")]
    sizes = totals.granted[largest_first].tolist()
    return tuple(map(LiveBlock, stream.allocs(largest_first), sizes))


def _module_peaks(
    stream: EventStream, totals: Totals, parts: Sequence[PhaseSection]
) -> dict[str, int]:
    made = stream.made[: np.searchsorted(stream.made, len(totals.allocated))]
    inside = np.zeros(len(made), bool)
    for part in parts:
        inside |= (made >= part.start) & (made < part.stop)
    blocks = np.flatnonzero(inside)
    return _largest_by_module(stream, blocks, totals.allocated[made[blocks]])


def _workspaces(stream: EventStream, totals: Totals) -> dict[str, int]:
    is_conv = np.array([*(isinstance(r, ConvCall) for r in stream.requests), False], bool)
    blocks = np.flatnonzero(
        is_conv[stream.request]
        & stream.where(category=Category.WORKSPACE)
        & (stream.made < len(totals.allocated))
    )
    return _largest_by_module(stream, blocks, totals.requested[blocks])


def _largest_by_module(stream: EventStream, blocks: Ints, values: Ints) -> dict[str, int]:
    """Return the largest of the blocks' values by module, each with that of what lies inside it."""
    largest = np.zeros(len(stream.names), np.int64)
    np.maximum.at(largest, stream.module[blocks], values)
    result: dict[str, int] = {}
    for module in np.flatnonzero(largest).tolist():
        for path in reversed(ancestors(stream.names[module])):
            result[path] = max(int(largest[module]), result.get(path, 0))
    return result


def _largest(stream: EventStream, totals: Totals) -> LiveBlock | None:
    reached = totals.requested[stream.made < len(totals.allocated)]
    if not reached.any():
        return None
    block = int(reached.argmax())
    return LiveBlock(stream.alloc(block), int(reached[block]))
