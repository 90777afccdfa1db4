"""The books of one run: what was allocated and freed, in order, and what each block was for."""

from dataclasses import dataclass

from bevdiag.memory.events import (
    Alloc,
    Category,
    Event,
    EventStream,
    Free,
    Mark,
    Phase,
    Request,
)


@dataclass(slots=True)
class Entry:
    """An allocation whose category is settled only when its end is known."""

    block: int
    nbytes: int
    category: Category | None
    phase: Phase
    step: int
    module: str
    op: str
    shape: tuple[int, ...] = ()
    dtype: str = "uint8"
    request: Request | None = None
    freed_in: tuple[int, Phase] | None = None


class Ledger:
    """Notes allocations and frees; `phase` and `step` are those of the last mark.

    Attributes:
        last_block: the block that was made last; blocks count from 1.
        loaded_bytes: of the parameters, buffers and inputs.
        largest_bytes: of the largest other block.
        is_open: whether frees are still noted: what dies after the run is none of its business.
    """

    def __init__(self) -> None:
        self.phase = Phase.LOAD
        self.step = 0
        self.last_block = 0
        self.loaded_bytes = 0
        self.largest_bytes = 0
        self.is_open = True
        self._log: list[Entry | Free | Mark] = [Mark(0, Phase.LOAD)]
        self._entries: dict[int, Entry] = {}
        self._gradients: set[int] = set()

    @property
    def position(self) -> int:
        """Index of the next event."""
        return len(self._log)

    def mark(self, step: int, phase: Phase) -> None:
        """From here on, events belong to this step and phase."""
        self.step, self.phase = step, phase
        self._log.append(Mark(step, phase))

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
        self.last_block += 1
        entry = Entry(
            block=self.last_block,
            nbytes=nbytes,
            category=category,
            phase=self.phase,
            step=self.step,
            module=module,
            op=op,
            shape=shape,
            dtype=dtype,
            request=request,
        )
        if category in (Category.PARAMETER, Category.INPUT):
            self.loaded_bytes += nbytes
        else:
            self.largest_bytes = max(self.largest_bytes, nbytes)
        self._entries[entry.block] = entry
        self._log.append(entry)
        return entry.block

    def free(self, block: int) -> None:
        """Note that a block's last owner lets go of it."""
        if self.is_open:
            self._entries[block].freed_in = (self.step, self.phase)
            self._log.append(Free(block))

    def is_gradient(self, block: int) -> None:
        """The block turned out to be a parameter's gradient."""
        self._gradients.add(block)

    def stream(self, num_steps: int) -> EventStream:
        """The finished events, each allocation with its category."""
        return EventStream(events=[self._finish(entry) for entry in self._log], num_steps=num_steps)

    def _finish(self, entry: Entry | Free | Mark) -> Event:
        if not isinstance(entry, Entry):
            return entry
        return Alloc(
            block=entry.block,
            nbytes=entry.nbytes,
            category=entry.category or self._category(entry),
            phase=entry.phase,
            step=entry.step,
            module=entry.module,
            op=entry.op,
            shape=entry.shape,
            dtype=entry.dtype,
            request=entry.request,
        )

    def _category(self, entry: Entry) -> Category:
        outlives_phase = entry.freed_in != (entry.step, entry.phase)
        if entry.block in self._gradients:
            return Category.GRADIENT
        if entry.phase is Phase.FORWARD and outlives_phase:
            return Category.ACTIVATION
        if entry.phase is Phase.LOAD and outlives_phase:
            return Category.PARAMETER
        if entry.phase is Phase.OPTIMIZER and outlives_phase:
            return Category.OPTIMIZER_STATE
        return Category.TEMPORARY
