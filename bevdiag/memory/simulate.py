"""Walk an event stream through the caching allocator."""

from functools import lru_cache

from bevdiag.memory.allocator import (
    MIN_BLOCK_BYTES,
    SMALL_REQUEST_BYTES,
    AllocationRefusedError,
    Block,
    CachingAllocator,
    ExpandableAllocator,
    block_bytes,
    segment_bytes,
)
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Category, EventStream, Flags, Ints, Phase
from bevdiag.memory.profile import MemoryProfile, Refusal, Totals
from bevdiag.memory.workspaces import Bound, is_optional, workspace

Asked = tuple[tuple[int, bool], ...]
"""What each distinct request of a stream comes to on a target, and whether it can go without."""


def simulate(
    stream: EventStream,
    target: DeviceTarget,
    *,
    until_oom: bool = True,
    bound: Bound = Bound.EXPECTED,
    expandable_segments: bool = False,
) -> MemoryProfile:
    """Return what the stream costs on the target.

    A cuDNN workspace that does not fit is done without: PyTorch skips an engine whose workspace
    cannot be had, down to engines that need none.

    Args:
        stream: the events.
        target: its capacity limits what may be reserved; versions settle the workspaces.
        until_oom: stop where the capacity is exceeded; False ignores the capacity.
        bound: which end of the workspaces' intervals to take.
        expandable_segments: simulate `expandable_segments:True`.
    """
    totals = walk(
        stream, target, until_oom=until_oom, bound=bound, expandable_segments=expandable_segments
    )
    from bevdiag.memory.summary import summarize

    return summarize(stream, totals)


def walk(
    stream: EventStream,
    target: DeviceTarget,
    *,
    until_oom: bool = True,
    bound: Bound = Bound.EXPECTED,
    expandable_segments: bool = False,
) -> Totals:
    """Return the totals after every event; the arguments are those of `simulate`.

    Targets whose libraries ask for the same workspaces share a walk that no capacity stops.
    """
    capacity = target.capacity_bytes if until_oom else None
    asked = asked_of(stream, target, bound)
    return _walk(stream, asked, capacity, expandable=expandable_segments)


def fits(
    stream: EventStream,
    target: DeviceTarget,
    *,
    bound: Bound = Bound.EXPECTED,
    expandable_segments: bool = False,
    whatever_more: bool = False,
) -> bool:
    """Return whether the stream ends within the target's capacity; without one it does.

    Args:
        stream: the events.
        target: the device.
        bound: which end of the workspaces' intervals to take.
        expandable_segments: judge `expandable_segments:True`.
        whatever_more: ask whether it does so within any larger capacity too. Where cached segments
            have to go back on the way, less may leave better places than more does.
    """
    capacity = target.capacity_bytes
    if capacity is None:
        return True
    if floor_bytes(stream, target, bound) > capacity:
        return False
    asked = asked_of(stream, target, bound)
    if expandable_segments:
        reserved = _walk(stream, asked, None, expandable=True).max_reserved_bytes
    else:
        reserved = _reserved_bytes(stream, asked)
    if reserved <= capacity:
        return True
    if _walk(stream, asked, capacity, expandable=expandable_segments).refusal is not None:
        return False
    while whatever_more and reserved > capacity:
        totals = _walk(stream, asked, reserved - 1, expandable=expandable_segments)
        if totals.refusal is not None:
            return False
        # With any capacity from what it reserves up to its own, a run takes the same course.
        reserved = totals.max_reserved_bytes
    return True


def floor_bytes(stream: EventStream, target: DeviceTarget, bound: Bound = Bound.EXPECTED) -> int:
    """Return the highest sum of rounded requests, without workspaces that cuDNN can do without.

    Less capacity than this suffices under no layout of the blocks.
    """
    firm = [
        0 if is_optional(request, target) else workspace(request, target).at(bound)
        for request in stream.requests
    ]
    rounded = -(-_sizes(stream, firm) // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES
    return int(_held(stream, rounded).max())


def asked_of(stream: EventStream, target: DeviceTarget, bound: Bound) -> Asked:
    """Return what the stream's distinct requests come to on a target."""
    scratches = (workspace(request, target) for request in stream.requests)
    return tuple((scratch.at(bound), scratch.is_optional) for scratch in scratches)


def _sizes(stream: EventStream, of_requests: list[int]) -> Ints:
    """[blocks] What each asks for, where its request comes to so much."""
    import numpy as np

    settled = np.array([*of_requests, 0], np.int64)[stream.request]
    return np.where(stream.request < 0, stream.nbytes, settled)


def _held(stream: EventStream, sizes: Ints) -> Ints:
    """[events] The sum of the blocks that are alive after each event, if they have these sizes."""
    import numpy as np

    changes = np.zeros(len(stream.events), np.int64)
    changes[stream.made] = sizes
    changes[stream.frees] = -sizes[~stream.events[stream.frees]]
    held: Ints = changes.cumsum()
    return held


def _reserved_bytes(stream: EventStream, asked: Asked) -> int:
    """Return the most that is reserved where no capacity stops it.

    Neither pool takes notice of the other, and most targets differ in a few blocks of one.
    """
    import numpy as np

    sizes = _sizes(stream, [nbytes for nbytes, _ in asked])
    known = _walks(stream)
    is_small = sizes <= SMALL_REQUEST_BYTES
    total = 0
    for pool, mine in enumerate((is_small, ~is_small)):
        own = np.where(mine, sizes, 0)
        alike = next((t for t in known[pool] if _reserves_alike(t, own, pool)), None)
        if alike is None:
            alike = run(stream, asked, CachingAllocator(), ~mine)
            known[pool].append(alike)
        grown = np.diff(alike.reserved, prepend=0)[stream.made]
        total += int(grown[_of_pool(alike.requested, pool) > 0].sum())
    return total


@lru_cache(maxsize=8)
def _walks(_: EventStream) -> tuple[list[Totals], list[Totals]]:
    """Return the walks of a stream that nothing stopped, of the small and of the large pool.

    Those of both pools are in both, where `_walk` puts them; `_reserved_bytes` adds others.
    """
    return [], []


def _of_pool(sizes: Ints, pool: int) -> Ints:
    """[blocks] The sizes of those that the small (0) or the large (1) pool serves, else 0."""
    import numpy as np

    return np.where((sizes > SMALL_REQUEST_BYTES) == pool, sizes, 0)


def _reserves_alike(totals: Totals, sizes: Ints, pool: int) -> bool:
    """Whether blocks of these sizes take segments as a pool's in a walk do, event by event.

    What is made and freed at once leaves the free blocks as they were, whatever its size, unless it
    needs a segment.
    """
    import numpy as np

    walked = _of_pool(totals.requested, pool)
    for block in np.flatnonzero(sizes != walked).tolist():
        room = int(totals.room[block, pool])
        if room < 0:
            return False
        before, now = (
            segment_bytes(rounded) if (rounded := block_bytes(int(nbytes))) > room else 0
            for nbytes in (walked[block], sizes[block])
        )
        if before != now:
            return False
    return True


@lru_cache(maxsize=32)
def _walk(stream: EventStream, asked: Asked, capacity: int | None, *, expandable: bool) -> Totals:
    allocator = (ExpandableAllocator if expandable else CachingAllocator)(capacity)
    totals = run(stream, asked, allocator)
    if capacity is None and not expandable:
        for known in _walks(stream):
            known.append(totals)
    return totals


def reserved_after(stream: EventStream, following: EventStream, target: DeviceTarget) -> int:
    """Return the most that is reserved when a second run follows a first one in its process.

    Blocks that the first one left in the cache serve the second where they fit. What the second
    loads, but for its batch, is there already.

    Args:
        stream: the first run, whose model, optimizer and last batch stay.
        following: the second run of the same model.
        target: the device, without its limit.
    """
    allocator = CachingAllocator()
    run(stream, asked_of(stream, target, Bound.EXPECTED), allocator)
    there = following.where(phase=Phase.LOAD) & ~following.where(category=Category.INPUT)
    asked = asked_of(following, target, Bound.EXPECTED)
    return run(following, asked, allocator, there).max_reserved_bytes


def run(
    stream: EventStream,
    asked: Asked,
    allocator: CachingAllocator,
    there: "Flags | None" = None,
) -> Totals:
    """Drive an allocator through a stream up to where it refuses.

    Args:
        stream: the events.
        asked: what its requests come to.
        allocator: serves them; what it has handed out before counts too.
        there: [blocks] those that need not be made.
    """
    import numpy as np

    settled = _sizes(stream, [nbytes for nbytes, _ in asked])
    if there is not None:
        settled = np.where(there, 0, settled)
    sizes: list[int] = settled.tolist()
    blocks: list[Block | None] = [None] * len(sizes)
    granted = [0] * len(sizes)
    room = np.full((len(sizes), 2), -1, np.int64)
    # The next event after the one that makes it is its end.
    is_passing = stream.freed == stream.made + 1
    passing: list[bool] = is_passing.tolist()
    is_walked = np.zeros(len(stream.events), bool)
    is_walked[stream.made] = walked = is_passing | (settled > 0)
    is_walked[stream.frees] = walked[~stream.events[stream.frees]]
    reached = len(stream.events)
    before = allocator.allocated_bytes
    reserved = [allocator.reserved_bytes]
    refusal = None
    malloc, free = allocator.malloc, allocator.free
    for code in stream.events[is_walked].tolist():
        if code >= 0:
            if passing[code]:
                room[code] = allocator.room()
            if nbytes := sizes[code]:
                allocator.serving = code
                try:
                    block = blocks[code] = malloc(nbytes)
                    granted[code] = block.size
                except AllocationRefusedError as refused:
                    request = stream.request[code]
                    if request < 0 or not asked[request][1]:
                        reached = int(stream.made[code])
                        refusal = Refusal(
                            event=reached,
                            alloc=stream.alloc(code),
                            nbytes=nbytes,
                            requested_bytes=refused.requested_bytes,
                            allocated_bytes=allocator.allocated_bytes,
                            reserved_bytes=allocator.reserved_bytes,
                        )
                        break
                    sizes[code] = 0
        else:
            freed = blocks[~code]
            if freed is not None:
                free(freed)
        reserved.append(allocator.reserved_bytes)
    granted_bytes = np.array(granted, np.int64)
    return Totals(
        requested=np.array(sizes, np.int64),
        granted=granted_bytes,
        room=room,
        allocated=before + _held(stream, granted_bytes)[:reached],
        reserved=np.array(reserved, np.int64)[is_walked.cumsum()[:reached]],
        refusal=refusal,
    )
