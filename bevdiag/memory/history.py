"""What the allocator did in a run, what its segments hold at the end, and each block's life."""

from collections import defaultdict
from dataclasses import dataclass, replace
from enum import Enum

from bevdiag.memory.allocator import AllocationRefusedError, Block, CachingAllocator, Pool
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc, Category, EventStream, Phase, ancestors
from bevdiag.memory.simulate import asked_of, run, walk
from bevdiag.memory.workspaces import Bound


class Action(str, Enum):
    """What happened, in the words of `torch.cuda.memory._snapshot`."""

    ALLOC = "alloc"
    FREE = "free_completed"
    SEGMENT_ALLOC = "segment_alloc"
    SEGMENT_FREE = "segment_free"
    OOM = "oom"


@dataclass(frozen=True, slots=True)
class AllocatorAction:
    """One action of the allocator.

    Attributes:
        nbytes: of a segment its size, of a block or an OOM what was asked for.
        cause: the allocation that the block is of, or that made the allocator act.
        address: where the block or segment begins.
        free_bytes: what CUDA could still give, at an OOM.
    """

    action: Action
    nbytes: int
    cause: Alloc
    address: int = 0
    free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FilledBlock:
    """A block of a segment: `nbytes` were asked for by `cause`; a free one has no cause."""

    address: int
    size: int
    nbytes: int
    cause: Alloc | None


@dataclass(frozen=True, slots=True)
class FilledSegment:
    """A segment at the end of the run, and its blocks in address order."""

    address: int
    size: int
    is_small: bool
    blocks: tuple[FilledBlock, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All actions of a run, in order, and the segments that it leaves."""

    entries: tuple[AllocatorAction, ...]
    segments: tuple[FilledSegment, ...]


def record(stream: EventStream, target: DeviceTarget) -> History:
    """Run the stream through the allocator, up to where the target's memory does not suffice."""
    recorder = _Recorder(stream, target.capacity_bytes)
    run(stream, asked_of(stream, target, Bound.EXPECTED), recorder)
    return History(tuple(recorder.entries), tuple(recorder.filled()))


class _Recorder(CachingAllocator):
    """A caching allocator that notes what it does, and for which event of the stream."""

    def __init__(self, stream: EventStream, capacity_bytes: int | None) -> None:
        super().__init__(capacity_bytes)
        self._causes = tuple(stream.allocs())
        self.entries: list[AllocatorAction] = []
        self._live: dict[int, AllocatorAction] = {}

    def malloc(self, nbytes: int) -> Block:
        try:
            block = super().malloc(nbytes)
        except AllocationRefusedError:
            assert self.capacity_bytes is not None
            free_bytes = self.capacity_bytes - self.reserved_bytes
            self._note(Action.OOM, nbytes, free_bytes=free_bytes)
            raise
        self._live[block.address] = self._note(Action.ALLOC, nbytes, block.address)
        return block

    def free(self, block: Block) -> None:
        self.entries.append(replace(self._live.pop(block.address), action=Action.FREE))
        super().free(block)

    def release_cached(self) -> None:
        before = dict(self._segments)
        super().release_cached()
        for address, (_, size) in before.items():
            if address not in self._segments:
                self._note(Action.SEGMENT_FREE, size, address)

    def filled(self) -> list[FilledSegment]:
        """Return the segments as they are now."""

        def filled(block: Block) -> FilledBlock:
            made = self._live.get(block.address)
            if made is None:
                return FilledBlock(block.address, block.size, 0, None)
            return FilledBlock(block.address, block.size, made.nbytes, made.cause)

        return [
            FilledSegment(
                address=blocks[0].address,
                size=size,
                is_small=blocks[0].pool.is_small,
                blocks=tuple(map(filled, blocks)),
            )
            for size, blocks in self.segments()
        ]

    def _grow(self, pool: Pool, rounded: int) -> Block:
        block = super()._grow(pool, rounded)
        self._note(Action.SEGMENT_ALLOC, block.size, block.address)
        return block

    def _note(
        self, action: Action, nbytes: int, address: int = 0, *, free_bytes: int = 0
    ) -> AllocatorAction:
        entry = AllocatorAction(action, nbytes, self._causes[self.serving], address, free_bytes)
        self.entries.append(entry)
        return entry


@dataclass(frozen=True, slots=True)
class BlockLife:
    """One block of the last step.

    Attributes:
        start: the event of the last step that makes it, 0 where the step begins with it.
        stop: the event that frees it, the number of the step's events where it stays.
        nbytes: what it counts as allocated.
        alloc: the allocation.
    """

    start: int
    stop: int
    nbytes: int
    alloc: Alloc

    @property
    def is_state(self) -> bool:
        """Whether it is state that outlives steps: weights, gradients, the optimizer's, input."""
        return self.alloc.category in _STATE


_STATE = (Category.PARAMETER, Category.GRADIENT, Category.OPTIMIZER_STATE, Category.INPUT)


def block_lives(stream: EventStream, target: DeviceTarget) -> tuple[BlockLife, ...]:
    """Every block alive at some moment of the last step, oldest first.

    The bytes alive after the n-th event of that step add up to the n-th entry of the profile's
    timeline; capacity is ignored, as for a timeline.
    """
    import numpy as np

    granted = walk(stream, target, until_oom=False).granted
    first = next((part.start for part in stream.sections() if part.step == stream.num_steps), 0)
    blocks = np.flatnonzero((granted > 0) & (stream.freed >= first))
    lives = zip(
        np.maximum(0, stream.made[blocks] - first).tolist(),
        (stream.freed[blocks] - first).tolist(),
        granted[blocks].tolist(),
        stream.allocs(blocks),
        strict=True,
    )
    return tuple(sorted((BlockLife(*life) for life in lives), key=lambda life: life.start))


def saved_bytes_by_module(stream: EventStream) -> dict[str, int]:
    """Bytes that each module's forward leaves alive for the backward pass of the last step.

    A module's figure includes its children's. What a later in-place operation or a shared storage
    keeps alive is charged to the module that allocated it.
    """
    import numpy as np

    last = [part for part in stream.sections() if part.step == stream.num_steps]
    end = next((part.start for part in last if part.phase is Phase.BACKWARD), len(stream.events))
    left = stream.where(phase=Phase.FORWARD, step=stream.num_steps)
    left &= (stream.made < end) & (stream.freed >= end)
    kept = stream.where(category=Category.ACTIVATION) | stream.where(category=Category.RULEBOOK)
    blocks = np.flatnonzero(left & kept)
    by_module = np.zeros(len(stream.names), np.int64)
    np.add.at(by_module, stream.module[blocks], stream.nbytes[blocks])
    saved: dict[str, int] = defaultdict(int)
    for module in np.unique(stream.module[blocks]).tolist():
        for path in ancestors(stream.names[module]):
            saved[path] += int(by_module[module])
    return dict(saved)
