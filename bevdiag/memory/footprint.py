"""How much one event stream reserves on many targets, without the story of how it gets there."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from bevdiag.memory.allocator import CachingAllocator, block_bytes
from bevdiag.memory.blocks import Block
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc, EventStream, Free, Request
from bevdiag.memory.workspaces import Bound, workspace


class Unlimited(Protocol):
    """What decides most cases of whether a stream fits; a `MemoryProfile` says it too.

    Attributes:
        max_reserved_bytes: most reserved without a limit.
        floor_bytes: less capacity than this suffices under no layout of the blocks.
    """

    @property
    def max_reserved_bytes(self) -> int: ...
    @property
    def floor_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Footprint:
    """What an `Unlimited` run of a stream on one target came to."""

    max_reserved_bytes: int
    floor_bytes: int


class Requests:
    """What an event stream asks of the allocator, ready to be walked for one target after another.

    The walk is that of `simulate` with `until_oom=False` at a fraction of its cost: there are no
    totals after each event, and targets whose libraries ask for the same workspaces share one.
    """

    def __init__(self, stream: EventStream) -> None:
        self._sizes: list[int] = []
        self._settled_by_target: dict[Request, list[int]] = {}
        # An allocation is its place in `_sizes`, a free the complement of it.
        self._steps: list[int] = []
        places: dict[int, int] = {}
        for event in stream.events:
            if isinstance(event, Alloc):
                place = places[event.block] = len(self._sizes)
                self._sizes.append(event.nbytes)
                self._steps.append(place)
                if event.request is not None:
                    self._settled_by_target.setdefault(event.request, []).append(place)
            elif isinstance(event, Free):
                self._steps.append(~places.pop(event.block))
        self._known: dict[tuple[tuple[int, bool], ...], Footprint] = {}

    @property
    def least_bytes(self) -> int:
        """What the stream needs at least, whatever workspaces a target's libraries take."""
        return self._floor(self._sizes)

    def footprint(self, target: DeviceTarget, bound: Bound) -> Footprint:
        """Return what the stream reserves on the target, its capacity ignored."""
        scratches = [workspace(request, target) for request in self._settled_by_target]
        # What cuDNN can do without is no part of the floor.
        asked = tuple((scratch.at(bound), scratch.fallback is None) for scratch in scratches)
        if asked not in self._known:
            sizes, firm = list(self._sizes), list(self._sizes)
            for (nbytes, is_firm), places in zip(
                asked, self._settled_by_target.values(), strict=True
            ):
                for place in places:
                    sizes[place], firm[place] = nbytes, nbytes if is_firm else 0
            self._known[asked] = Footprint(self._reserved(sizes), self._floor(firm))
        return self._known[asked]

    def _reserved(self, sizes: list[int]) -> int:
        allocator = CachingAllocator()
        malloc, free = allocator.malloc, allocator.free
        blocks: list[Block | None] = [None] * len(sizes)
        for step in self._steps:
            if step >= 0:
                if sizes[step]:
                    blocks[step] = malloc(sizes[step])
            else:
                block = blocks[~step]
                if block is not None:
                    free(block)
        # Without a limit no segment goes back: the last total is the largest.
        return allocator.reserved_bytes

    def _floor(self, sizes: list[int]) -> int:
        rounded = [block_bytes(nbytes) for nbytes in sizes]
        changes: Iterable[int] = (
            rounded[step] if step >= 0 else -rounded[~step] for step in self._steps
        )
        return max(accumulate(changes), default=0)
