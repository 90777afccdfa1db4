"""What the totals after each event say about the run: peaks, holders, phases, modules."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bevdiag.memory.events import (
    Alloc,
    Category,
    ConvCall,
    Event,
    EventStream,
    Free,
    Mark,
    Phase,
)
from bevdiag.memory.profile import (
    LiveBlock,
    MemoryProfile,
    PeakMoment,
    PhaseUse,
    Refusal,
    Sample,
)


@dataclass(slots=True)
class Totals:
    """One entry an event, as far as the run got.

    `requested` and `block_bytes` are what an allocation asked for and got, 0 for other events;
    `allocated` and `reserved` are the totals after the event.
    """

    requested: list[int] = field(default_factory=list)
    block_bytes: list[int] = field(default_factory=list)
    allocated: list[int] = field(default_factory=list)
    reserved: list[int] = field(default_factory=list)
    floor_bytes: int = 0
    num_retries: int = 0
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Events `start` to `stop` (exclusive) of one step and phase."""

    step: int
    phase: Phase
    start: int
    stop: int


def summarize(stream: EventStream, totals: Totals) -> MemoryProfile:
    """Return the profile of a run that left these totals."""
    events = stream.events
    stretches = list(_stretches(events, len(totals.allocated)))
    last_step = stretches[-1].step
    steady = [part for part in stretches if part.step >= 2] or [
        part for part in stretches if part.step == last_step
    ]
    first = [part for part in stretches if part.step == 1]
    peak = _peak(events, totals, steady)
    holders = _alive_at(events, totals, peak.event)
    by_category: Counter[Category] = Counter()
    for holder in holders:
        by_category[holder.alloc.category] += holder.nbytes
    return MemoryProfile(
        peak=peak,
        peak_reserved_bytes=max(_highest(totals.reserved, part) for part in steady),
        first_step=_peak(events, totals, first) if first else None,
        max_reserved_bytes=max(totals.reserved, default=0),
        floor_bytes=totals.floor_bytes,
        resident_bytes=_before_first_step(totals, stretches),
        holders=holders,
        by_category=dict(by_category.most_common()),
        phases=tuple(_phase_use(totals, part) for part in stretches if part.step == last_step),
        timeline=tuple(_timeline(events, totals, stretches, last_step)),
        module_peaks=_module_peaks(events, totals, steady),
        workspaces=_workspaces(events, totals),
        largest_request=_largest(events, totals),
        num_retries=totals.num_retries,
        refusal=totals.refusal,
        unmodelled=stream.unmodelled,
    )


def _stretches(events: Sequence[Event], num_reached: int) -> Iterator[_Stretch]:
    """Cut the events that were reached at their marks; what precedes the first one is loading."""
    step, phase, start = 0, Phase.LOAD, 0
    for index in range(num_reached):
        event = events[index]
        if isinstance(event, Mark):
            if index > start:
                yield _Stretch(step, phase, start, index)
            step, phase, start = event.step, event.phase, index
    yield _Stretch(step, phase, start, num_reached)


def _highest(values: Sequence[int], part: _Stretch) -> int:
    return max(values[part.start : part.stop], default=0)


def _peak(events: Sequence[Event], totals: Totals, parts: Sequence[_Stretch]) -> PeakMoment:
    part = max(parts, key=lambda part: _highest(totals.allocated, part))
    highest = _highest(totals.allocated, part)
    if part.start == part.stop:
        return PeakMoment(
            event=-1, step=part.step, phase=part.phase, module="", op="", allocated_bytes=0
        )
    index = totals.allocated.index(highest, part.start, part.stop)
    event = events[index]
    return PeakMoment(
        event=index,
        step=part.step,
        phase=part.phase,
        module=event.module if isinstance(event, Alloc) else "",
        op=event.op if isinstance(event, Alloc) else "",
        allocated_bytes=highest,
    )


def _alive_at(events: Sequence[Event], totals: Totals, moment: int) -> tuple[LiveBlock, ...]:
    alive: dict[int, LiveBlock] = {}
    for index in range(moment + 1):
        event = events[index]
        if isinstance(event, Alloc):
            if totals.block_bytes[index]:
                alive[event.block] = LiveBlock(event, totals.block_bytes[index])
        elif isinstance(event, Free):
            alive.pop(event.block, None)
    return tuple(sorted(alive.values(), key=lambda holder: -holder.nbytes))


def _before_first_step(totals: Totals, stretches: Sequence[_Stretch]) -> int:
    loading = [part for part in stretches if part.step == 0]
    stop = loading[-1].stop if loading else 0
    return totals.allocated[stop - 1] if stop else 0


def _phase_use(totals: Totals, part: _Stretch) -> PhaseUse:
    return PhaseUse(
        phase=part.phase,
        peak_allocated_bytes=_highest(totals.allocated, part),
        allocated_after_bytes=totals.allocated[part.stop - 1] if part.stop else 0,
    )


def _timeline(
    events: Sequence[Event], totals: Totals, stretches: Sequence[_Stretch], step: int
) -> Iterator[Sample]:
    module = ""
    for part in stretches:
        if part.step != step:
            continue
        for index in range(part.start, part.stop):
            event = events[index]
            if isinstance(event, Alloc):
                module = event.module
            yield Sample(index, part.phase, module, totals.allocated[index], totals.reserved[index])


def _module_peaks(
    events: Sequence[Event], totals: Totals, parts: Sequence[_Stretch]
) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for part in parts:
        for index in range(part.start, part.stop):
            event = events[index]
            if isinstance(event, Alloc) and totals.allocated[index] > peaks.get(event.module, 0):
                peaks[event.module] = totals.allocated[index]
    return _with_parents(peaks)


def _workspaces(events: Sequence[Event], totals: Totals) -> dict[str, int]:
    largest: dict[str, int] = {}
    for event, nbytes in zip(events, totals.requested, strict=False):
        if (
            nbytes
            and isinstance(event, Alloc)
            and event.category is Category.WORKSPACE
            and isinstance(event.request, ConvCall)
        ):
            largest[event.module] = max(nbytes, largest.get(event.module, 0))
    return _with_parents(largest)


def _with_parents(of_module: dict[str, int]) -> dict[str, int]:
    """Give every dotted parent the maximum of what lies inside it."""
    result: dict[str, int] = {}
    for name, value in of_module.items():
        while name:
            result[name] = max(value, result.get(name, 0))
            name = name.rpartition(".")[0]
    return result


def _largest(events: Sequence[Event], totals: Totals) -> LiveBlock | None:
    nbytes = max(totals.requested, default=0)
    if not nbytes:
        return None
    event = events[totals.requested.index(nbytes)]
    assert isinstance(event, Alloc)
    return LiveBlock(event, nbytes)
