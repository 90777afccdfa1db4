"""The books of one run: what was allocated and freed, in order, and what each block was for."""

from collections.abc import Hashable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from bevdiag.memory.events import CATEGORIES, MARK, PHASES, Category, EventStream, Ints, Phase
from bevdiag.memory.requests import Request

_Named = TypeVar("_Named", bound=Hashable)

_OPEN = -1
"""A category that is settled only when the block's end is known."""
_KEPT = {
    Phase.FORWARD: Category.ACTIVATION,
    Phase.LOAD: Category.PARAMETER,
    Phase.OPTIMIZER: Category.OPTIMIZER_STATE,
}
"""What a block is that outlives the phase in which it was made."""


class Ledger:
    """Notes allocations and frees; `phase` and `step` are those of the last mark.

    Attributes:
        last_block: the block that was made last; blocks count from 0.
        loaded_bytes: of the parameters, buffers and inputs.
        largest_bytes: of the largest other block.
    """

    def __init__(self) -> None:
        self.last_block = -1
        self.loaded_bytes = 0
        self.largest_bytes = 0
        self._is_open = True
        self.step, self.phase = 0, Phase.LOAD
        self._events = [MARK]
        self._marks = [(0, PHASES.index(Phase.LOAD))]
        self._blocks: list[tuple[int, ...]] = []
        self._names: dict[str, int] = {}
        self._shapes: dict[tuple[int, ...], int] = {}
        self._requests: dict[Request, int] = {}
        self._gradients: set[int] = set()

    @property
    def position(self) -> int:
        """Index of the next event."""
        return len(self._events)

    def mark(self, step: int, phase: Phase) -> None:
        """From here on, events belong to this step and phase."""
        self.step, self.phase = step, phase
        self._marks.append((step, PHASES.index(phase)))
        self._events.append(MARK)

    def allocate(
        self,
        nbytes: int,
        category: Category | None,
        module: str,
        op: str,
        shape: tuple[int, ...] = (),
        dtype: str = "uint8",
        request: Request | None = None,
    ) -> int:
        """Note a block and return its number; without a category its fate decides on one."""
        if category in (Category.PARAMETER, Category.INPUT):
            self.loaded_bytes += nbytes
        else:
            self.largest_bytes = max(self.largest_bytes, nbytes)
        self._blocks.append(
            (
                nbytes,
                _OPEN if category is None else CATEGORIES.index(category),
                _place(self._names, module),
                _place(self._names, op),
                _place(self._names, dtype),
                _place(self._shapes, shape),
                -1 if request is None else _place(self._requests, request),
            )
        )
        self.last_block += 1
        self._events.append(self.last_block)
        return self.last_block

    def free(self, block: int) -> None:
        """Note that a block's last owner lets go of it."""
        if self._is_open:
            self._events.append(~block)

    def stop(self) -> None:
        """Whatever dies from here on dies after the run, and is no longer noted."""
        self._is_open = False

    def take_frees(self, since: int) -> list[int]:
        """Return the blocks of the frees since an event, which are struck out."""
        taken = [~code for code in self._events[since:]]
        assert all(block >= 0 for block in taken)
        del self._events[since:]
        return taken

    def is_gradient(self, block: int) -> None:
        """Note that the block turned out to be a parameter's gradient."""
        self._gradients.add(block)

    def stream(self, num_steps: int) -> EventStream:
        """Return the finished events, each allocation with its category."""
        marks = np.array(self._marks, np.int32)
        columns = np.array(self._blocks, np.int64).reshape(-1, 7).T
        module, op, dtype, shape, request = columns[2:].astype(np.int32)
        stream = EventStream(
            events=np.array(self._events, np.int32),
            mark_steps=marks[:, 0],
            mark_phases=marks[:, 1],
            nbytes=columns[0].copy(),
            category=columns[1],
            module=module,
            op=op,
            dtype=dtype,
            shape=shape,
            request=request,
            names=tuple(self._names),
            shapes=tuple(self._shapes),
            requests=tuple(self._requests),
            num_steps=num_steps,
        )
        return replace(stream, category=self._settled(stream))

    def _settled(self, stream: EventStream) -> Ints:
        """[blocks] The categories, the open ones decided by when each block is made and freed."""
        # One number a step and phase: a step of several batches comes back to its phases.
        moments = stream.mark_steps * len(PHASES) + stream.mark_phases
        made, freed = (
            moments[np.searchsorted(stream.marks, events) - 1]
            for events in (stream.made, stream.freed)
        )
        outlives = (made != freed) | (stream.freed == len(stream.events))
        is_open = stream.category == _OPEN
        settled = np.where(is_open, CATEGORIES.index(Category.TEMPORARY), stream.category)
        for phase, kept in _KEPT.items():
            of_phase = stream.phase == PHASES.index(phase)
            settled[is_open & of_phase & outlives] = CATEGORIES.index(kept)
        gradients = np.zeros(len(settled), bool)
        gradients[list(self._gradients)] = True
        settled[is_open & gradients] = CATEGORIES.index(Category.GRADIENT)
        return settled.astype(np.int8)


def _place(known: dict[_Named, int], value: _Named) -> int:
    """Return the place of a value among the distinct ones."""
    return known.setdefault(value, len(known))
