"""Which allocation of a predicted step a message is about.

A message gives up to three clues: the segment that was asked for, what was allocated at that
moment, and how much the allocator could have had. The step is walked in every case that the
message may come from (another cuDNN, other counts that depend on values); allocations whose segment
prints like the message's are candidates, and where a walk within the message's capacity stops says
which of them comes first. What cuDNN can do without never fails and is no candidate.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bevdiag.explain.arithmetic import arithmetic_of, condition_of, what_of
from bevdiag.explain.between import between
from bevdiag.explain.decode import asks_for
from bevdiag.explain.failure import Failure, Stack
from bevdiag.explain.match import Case, Match, agrees, distance_of, is_optional
from bevdiag.explain.result import Candidate, Certainty
from bevdiag.memory.allocator import block_bytes, segment_bytes
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.oom import format_size
from bevdiag.memory.simulate import walk

MAX_CANDIDATES = 6


def search(failure: Failure, cases: Sequence[Case]) -> tuple[Candidate, ...]:
    """Find the allocations that the message may be about, the likeliest first.

    Where no allocation has the size, those stand in at which the walks stop.
    """
    matches = sorted((m for case in cases for m in _matches(failure, case)), key=_rank)
    if not any(match.has_size and match.is_near for match in matches):
        matches = sorted(between(failure, cases), key=_rank) or matches
    best: dict[tuple[object, ...], Match] = {}
    for match in matches:
        alloc = match.alloc
        key = (alloc.module, alloc.phase, alloc.op, alloc.shape, match.nbytes)
        best.setdefault(key, match)
    kept = list(best.values())
    if kept and kept[0].has_size:
        kept = [match for match in kept if match.has_size]
    return tuple(
        _candidate(failure, match, kept, is_first=number == 0)
        for number, match in enumerate(kept[:MAX_CANDIDATES])
    )


def _rank(match: Match) -> tuple[object, ...]:
    return match.rank


def _matches(failure: Failure, case: Case) -> Iterator[Match]:
    totals = walk(case.stream, case.target, until_oom=False)
    stop = None
    if case.target.capacity_bytes is not None:
        refusal = walk(case.stream, case.target).refusal
        stop = refusal.event if refusal is not None else None
    figure = failure.requested
    made, sizes = case.stream.made.tolist(), totals.requested.tolist()
    for index, nbytes, event in zip(made, sizes, case.stream.allocs(), strict=True):
        if not nbytes or is_optional(event, case.target):
            continue
        has_size = figure is not None and asks_for(nbytes, figure)
        if not has_size and index != stop:
            continue
        allocated = int(totals.allocated[index] - totals.granted[event.block])
        yield Match(
            case=case,
            event=index,
            alloc=event,
            nbytes=nbytes,
            allocated_bytes=allocated,
            has_size=has_size,
            stops_here=index == stop,
            agrees_with_stack=agrees(event, failure.stack),
            distance=distance_of(allocated, failure),
        )


def _candidate(
    failure: Failure, match: Match, kept: Sequence[Match], *, is_first: bool
) -> Candidate:
    alloc, target = match.alloc, match.case.target
    conditions = (condition_of(alloc, target), match.case.assumption)
    return Candidate(
        module=alloc.module,
        phase=alloc.phase.value,
        step=alloc.step,
        what=what_of(alloc, target),
        arithmetic=arithmetic_of(alloc, match.nbytes, target),
        nbytes=match.nbytes,
        requested_bytes=segment_bytes(block_bytes(match.nbytes)),
        allocated_bytes=match.allocated_bytes,
        condition="; ".join(dict.fromkeys(filter(None, conditions))),
        certainty=_certainty(match, kept) if is_first else Certainty.POSSIBLE,
        reasons=tuple(_reasons(failure, match)),
    )


def _certainty(best: Match, kept: Iterable[Match]) -> Certainty:
    """Certain is what has the size while no other module asks for it near that moment."""
    fitted = best.case.count is not None and best.case.assumption
    if fitted or not (best.has_size and best.is_near and best.agrees_with_stack):
        return Certainty.POSSIBLE
    rivals = (
        match
        for match in kept
        if match.alloc.module != best.alloc.module and match.is_near and match.agrees_with_stack
    )
    return Certainty.LIKELY if any(rivals) else Certainty.CERTAIN


def _reasons(failure: Failure, match: Match) -> Iterator[str]:
    requested = format_size(segment_bytes(block_bytes(match.nbytes)))
    if match.has_size:
        yield f"its segment prints as {requested}"
    elif failure.requested is not None:
        yield (
            f"no allocation prints as {failure.requested.text}; this one, of {requested}, is where "
            "the predicted step runs out of memory"
        )
    if match.stops_here and match.has_size:
        yield "the predicted step stops here within the capacity that the message states"
    if failure.allocated is not None:
        yield (
            f"{format_size(match.allocated_bytes)} are predicted to be allocated then, the message "
            f"says {failure.allocated.text}"
        )
    if failure.stack != Stack():
        agrees = "agrees with" if match.agrees_with_stack else "speaks against"
        yield f"the traceback {agrees} it"


def with_capacity(target: DeviceTarget, failure: Failure) -> DeviceTarget:
    """Return the target with the memory that the message says the allocator could have had."""
    capacity = failure.capacity_bytes
    total = failure.total.middle_bytes if failure.total is not None else capacity
    return replace(target, capacity_bytes=capacity, total_bytes=total)
