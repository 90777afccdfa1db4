"""From when to when every block of a step lives: what a timeline of memory is drawn from."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc, Category, Event, EventStream, Free, Mark, Phase
from bevdiag.memory.simulate import walk
from bevdiag.memory.workspaces import Bound


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


def block_lives(
    stream: EventStream, target: DeviceTarget, *, bound: Bound = Bound.EXPECTED
) -> tuple[BlockLife, ...]:
    """Every block alive at some moment of the last step, oldest first.

    The bytes alive after the n-th event of that step add up to the n-th entry of the profile's
    timeline; capacity is ignored, as for a timeline.
    """
    sizes = walk(stream, target, until_oom=False, bound=bound).block_bytes
    first = _start_of_last_step(stream.events, stream.num_steps)
    count = len(stream.events) - first
    alive: dict[int, tuple[int, Alloc, int]] = {}
    lives: list[BlockLife] = []
    for index, event in enumerate(stream.events):
        if isinstance(event, Alloc):
            alive[event.block] = (max(0, index - first), event, sizes[index])
        elif isinstance(event, Free):
            start, alloc, nbytes = alive.pop(event.block)
            if index >= first and nbytes:
                lives.append(BlockLife(start, index - first, nbytes, alloc))
    lives += [
        BlockLife(start, count, nbytes, alloc) for start, alloc, nbytes in alive.values() if nbytes
    ]
    return tuple(sorted(lives, key=lambda life: (life.start, life.alloc.block)))


def _start_of_last_step(events: Sequence[Event], last_step: int) -> int:
    """The index of the mark that begins it; 0 where a stream has no such mark."""
    return next(
        (
            i
            for i, event in enumerate(events)
            if isinstance(event, Mark) and event.step == last_step
        ),
        0,
    )


def saved_bytes_by_module(stream: EventStream) -> dict[str, int]:
    """Bytes that each module's forward leaves alive for the backward pass of the last step.

    A module's figure includes its children's. What a later in-place operation or a shared storage
    keeps alive is charged to the module that allocated it.
    """
    alive: dict[int, Alloc] = {}
    for event in stream.events:
        if isinstance(event, Mark):
            if event.step == stream.num_steps and event.phase is Phase.BACKWARD:
                break
        elif isinstance(event, Free):
            alive.pop(event.block, None)
        elif event.phase is Phase.FORWARD and event.step == stream.num_steps:
            alive[event.block] = event
    saved: dict[str, int] = defaultdict(int)
    for alloc in alive.values():
        if alloc.category in (Category.ACTIVATION, Category.RULEBOOK):
            for path in ancestors(alloc.module):
                saved[path] += alloc.nbytes
    return dict(saved)


def ancestors(module: str) -> list[str]:
    """The path itself and every module around it, without the detector."""
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))] if module else []
