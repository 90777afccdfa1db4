"""Walk an event stream through the caching allocator."""

from bevdiag.memory.allocator import AllocationRefusedError, CachingAllocator, block_bytes
from bevdiag.memory.blocks import Block
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc, EventStream, Free
from bevdiag.memory.expandable import ExpandableAllocator
from bevdiag.memory.footprint import Unlimited
from bevdiag.memory.profile import MemoryProfile, Refusal
from bevdiag.memory.summary import Totals, summarize
from bevdiag.memory.workspaces import Bound, workspace


def simulate(
    stream: EventStream,
    target: DeviceTarget,
    *,
    until_oom: bool = True,
    bound: Bound = Bound.EXPECTED,
    expandable_segments: bool = False,
) -> MemoryProfile:
    """Return what the stream costs on the target.

    A cuDNN workspace that does not fit shrinks to its fallback and only then is refused: PyTorch
    skips an engine whose workspace cannot be had, down to engines that need none.

    Args:
        stream: the events; marks say which step and phase they belong to.
        target: its capacity limits what may be reserved; versions settle the workspaces.
        until_oom: stop where the capacity is exceeded; False ignores the capacity.
        bound: which end of the workspaces' intervals to take.
        expandable_segments: simulate `expandable_segments:True`.

    Raises:
        ValueError: the stream frees a block that is not alive, or makes one twice.
    """
    totals = walk(
        stream, target, until_oom=until_oom, bound=bound, expandable_segments=expandable_segments
    )
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

    Raises:
        ValueError: the stream frees a block that is not alive, or makes one twice.
    """
    capacity = target.capacity_bytes if until_oom else None
    allocator = (ExpandableAllocator if expandable_segments else CachingAllocator)(capacity)
    return Walk(target, bound, allocator).run(stream)


def fits(
    stream: EventStream,
    target: DeviceTarget,
    unlimited: Unlimited,
    *,
    bound: Bound = Bound.EXPECTED,
) -> bool:
    """Return whether the stream ends within the target's capacity.

    Args:
        stream: the events.
        target: the device; without a capacity everything fits.
        unlimited: the stream's profile with `until_oom=False`, same versions, compute capability
            and bound; it decides the clear cases without another simulation.
        bound: which end of the workspaces' intervals to take.
    """
    capacity = target.capacity_bytes
    if capacity is None or unlimited.max_reserved_bytes <= capacity:
        return True
    if unlimited.floor_bytes > capacity:
        return False
    return simulate(stream, target, bound=bound).refusal is None


class Walk:
    """Drives the allocator through a stream and notes the totals after each event."""

    def __init__(self, target: DeviceTarget, bound: Bound, allocator: CachingAllocator) -> None:
        self._target = target
        self._bound = bound
        self._allocator = allocator
        # Block id -> the block (None for an empty tensor) and its share of `_firm_bytes`.
        self._live: dict[int, tuple[Block | None, int]] = {}
        self._firm_bytes = 0
        self._floor_bytes = 0

    def run(self, stream: EventStream) -> Totals:
        allocator, totals = self._allocator, Totals()
        for index, event in enumerate(stream.events):
            nbytes = size = 0
            if isinstance(event, Alloc):
                try:
                    nbytes, size = self._alloc(event)
                except AllocationRefusedError as refused:
                    totals.refusal = self._refusal(index, event, refused.requested_bytes)
                    break
            elif isinstance(event, Free):
                self._free(index, event)
            totals.requested.append(nbytes)
            totals.block_bytes.append(size)
            totals.allocated.append(allocator.allocated_bytes)
            totals.reserved.append(allocator.reserved_bytes)
        totals.floor_bytes = self._floor_bytes
        totals.num_retries = allocator.num_retries
        return totals

    def _alloc(self, event: Alloc) -> tuple[int, int]:
        """Return the bytes that were asked for and those of the block."""
        if event.block in self._live:
            raise ValueError(f"block {event.block} is allocated while it is alive: {event}")
        if event.request is None:
            nbytes, is_firm = event.nbytes, True
            block = self._allocator.malloc(nbytes) if nbytes else None
        else:
            scratch = workspace(event.request, self._target)
            nbytes, is_firm = scratch.at(self._bound), scratch.fallback is None
            block, nbytes = self._scratch(nbytes, scratch.fallback)
        firm = block_bytes(nbytes) if is_firm else 0
        self._live[event.block] = (block, firm)
        self._firm_bytes += firm
        self._floor_bytes = max(self._floor_bytes, self._firm_bytes)
        return nbytes, block.size if block is not None else 0

    def _scratch(self, nbytes: int, fallback: int | None) -> tuple[Block | None, int]:
        try:
            return (self._allocator.malloc(nbytes) if nbytes else None), nbytes
        except AllocationRefusedError:
            if fallback is None:
                raise
            return (self._allocator.malloc(fallback) if fallback else None), fallback

    def _free(self, index: int, event: Free) -> None:
        if event.block not in self._live:
            raise ValueError(f"event {index} frees block {event.block}, which is not alive")
        block, firm = self._live.pop(event.block)
        self._firm_bytes -= firm
        if block is not None:
            self._allocator.free(block)

    def _refusal(self, index: int, event: Alloc, requested_bytes: int) -> Refusal:
        nbytes = event.nbytes
        if event.request is not None:
            nbytes = workspace(event.request, self._target).at(self._bound)
        return Refusal(
            event=index,
            alloc=event,
            nbytes=nbytes,
            requested_bytes=requested_bytes,
            allocated_bytes=self._allocator.allocated_bytes,
            reserved_bytes=self._allocator.reserved_bytes,
        )
