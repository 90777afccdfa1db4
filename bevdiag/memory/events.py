"""The event stream: what a training step asks of the device allocator, in order.

This is the one thing that passes from tracing (or from a recorded GPU run) to the allocator's
simulation. Sizes are the bytes that were asked for; rounding is the allocator's business.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from bevdiag.memory.requests import Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.integer[Any]]"
Flags: TypeAlias = "NDArray[np.bool_]"


class Category(str, Enum):
    """What a block of memory is for."""

    PARAMETER = "parameter"
    GRADIENT = "gradient"
    OPTIMIZER_STATE = "optimizer state"
    ACTIVATION = "activation"
    WORKSPACE = "workspace"
    RULEBOOK = "rulebook"
    INPUT = "input"
    TEMPORARY = "temporary"


_current: ContextVar[Category | None] = ContextVar("bevdiag_category", default=None)


def current_category() -> Category | None:
    """Return the category named by the innermost `allocating`, None outside of any."""
    return _current.get()


@contextmanager
def allocating(category: Category) -> Iterator[None]:
    """Name the category of every tensor made inside, where the op alone cannot tell; may be nested.

    Whoever makes tensors on behalf of a library (the stub for spconv, say) names it; the recorder
    asks for it with each allocation.
    """
    token = _current.set(category)
    try:
        yield
    finally:
        _current.reset(token)


class Phase(str, Enum):
    """Where in the run an event falls."""

    LOAD = "load"
    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"


class Alloc(NamedTuple):
    """One allocation of a stream, its columns put side by side.

    `nbytes` is what is asked for; it is 0 and settled by the target GPU when `request` is set.
    """

    block: int
    nbytes: int
    category: Category
    phase: Phase
    step: int
    module: str
    op: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    request: Request | None = None


def ancestors(module: str) -> list[str]:
    """Return the path itself and every module around it, without the detector."""
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))] if module else []


class PhaseSection(NamedTuple):
    """Events `start` to `stop` (exclusive), of one phase of one step (step 0 is loading)."""

    step: int
    phase: Phase
    start: int
    stop: int


CATEGORIES = tuple(Category)
PHASES = tuple(Phase)
MARK = -(2**31)
"""What a boundary is among the events: from it on, they belong to another step or phase."""


@dataclass(frozen=True, eq=False, kw_only=True)
class EventStream:
    """One traced or recorded run: loading (step 0) and the training steps 1, 2, ..., as columns.

    Blocks are numbered from 0 in the order in which they are made; none is made twice.

    Attributes:
        events: [events] the block that is made, the complement of the one whose last owner lets
            go of it, or MARK; the first is a MARK.
        mark_steps: [marks] the step that begins or goes on; `mark_phases` the place of the phase
            in PHASES.
        nbytes: [blocks] what is asked for; 0 where the target settles it.
        category: [blocks] places in CATEGORIES.
        module: [blocks] places in `names`, as are `op` and `dtype`.
        shape: [blocks] places in `shapes`.
        request: [blocks] places in `requests`, -1 where nothing is left to the target.
        unmodelled: ops or modules whose memory is not known; they make every verdict "unknown".

    Raises:
        ValueError: a block is freed that is not alive.
    """

    events: Ints
    mark_steps: Ints
    mark_phases: Ints
    nbytes: Ints
    category: Ints
    module: Ints
    op: Ints
    dtype: Ints
    shape: Ints
    request: Ints
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    requests: tuple[Request, ...]
    num_steps: int
    unmodelled: tuple[str, ...] = ()

    def __post_init__(self) -> None:

        import numpy as np

        blocks = ~self.events[self.frees]
        wrong = blocks >= len(self.nbytes)
        if not wrong.any():
            again = np.ones(len(blocks), bool)
            again[np.unique(blocks, return_index=True)[1]] = False
            wrong = again | (self.made[blocks] > self.frees)
        if wrong.any():
            event = self.frees[wrong][0]
            raise ValueError(f"event {event} frees block {~self.events[event]}, which is not alive")

    @cached_property
    def frees(self) -> Ints:
        """[frees] The events that free a block."""
        frees: Ints = ((self.events < 0) & (self.events != MARK)).nonzero()[0]
        return frees

    @cached_property
    def made(self) -> Ints:
        """[blocks] The event that makes each block."""
        made: Ints = (self.events >= 0).nonzero()[0]
        return made

    @cached_property
    def freed(self) -> Ints:
        """[blocks] The event that frees each block, the number of events where none does."""
        import numpy as np

        events = np.full(len(self.nbytes), len(self.events))
        events[~self.events[self.frees]] = self.frees
        return events

    @cached_property
    def marks(self) -> Ints:
        """[marks] The events that are boundaries."""
        marks: Ints = (self.events == MARK).nonzero()[0]
        return marks

    @cached_property
    def _section(self) -> Ints:
        """[blocks] The mark before each block is made."""
        return self.marks.searchsorted(self.made) - 1

    @property
    def step(self) -> Ints:
        """[blocks] The step in which each block is made."""
        steps: Ints = self.mark_steps[self._section]
        return steps

    @property
    def phase(self) -> Ints:
        """[blocks] The place in PHASES of the phase in which each block is made."""
        phases: Ints = self.mark_phases[self._section]
        return phases

    def sections(self, stop: int | None = None) -> list[PhaseSection]:
        """Yield the events from mark to mark, up to the event `stop` (exclusive)."""
        stop = len(self.events) if stop is None else stop
        starts = [int(mark) for mark in self.marks if mark < stop]
        return [
            PhaseSection(int(step), PHASES[phase], start, after)
            for step, phase, start, after in zip(
                self.mark_steps, self.mark_phases, starts, [*starts[1:], stop], strict=False
            )
        ]

    def where(
        self,
        *,
        category: Category | None = None,
        phase: Phase | None = None,
        step: int | None = None,
    ) -> Flags:
        """[blocks] Which blocks are of this category, phase and step, as far as they are given."""
        import numpy as np

        chosen = np.ones(len(self.nbytes), bool)
        if category is not None:
            chosen &= self.category == CATEGORIES.index(category)
        if phase is not None:
            chosen &= self.phase == PHASES.index(phase)
        if step is not None:
            chosen &= self.step == step
        return chosen

    def allocs(self, chosen: "Flags | Ints | Sequence[int] | None" = None) -> Iterator[Alloc]:
        """Return the chosen blocks' allocations (a mask or their numbers), by default all."""
        import numpy as np

        blocks = np.arange(len(self.nbytes))
        if chosen is not None:
            blocks = blocks[chosen]
        names = ("nbytes", "category", "phase", "step", "module", "op", "shape", "dtype", "request")
        columns = (getattr(self, name)[blocks].tolist() for name in names)
        for block, nbytes, category, phase, step, module, op, shape, dtype, request in zip(
            blocks.tolist(), *columns, strict=True
        ):
            yield Alloc(
                block,
                nbytes,
                CATEGORIES[category],
                PHASES[phase],
                step,
                self.names[module],
                self.names[op],
                self.shapes[shape],
                self.names[dtype],
                None if request < 0 else self.requests[request],
            )

    def alloc(self, block: int) -> Alloc:
        """Return the allocation of one block."""
        return next(self.allocs([block]))
