"""What a simulation found out about one event stream on one target: plain frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bevdiag.memory.events import Alloc, Category, Ints, Phase
from bevdiag.memory.sizes import format_size

if TYPE_CHECKING:
    from bevdiag.memory.device import DeviceTarget


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The totals after every event of the last step reached, and where that step begins.

    Attributes:
        start: the step's first event.
        allocated: [events] bytes; `reserved` likewise.
    """

    start: int
    allocated: Ints
    reserved: Ints


class LiveBlock(NamedTuple):
    """A block that is alive at the peak, with what it counts as allocated."""

    alloc: Alloc
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMoment:
    """The highest allocated total of some steps, and the allocation that reached it.

    Module and op are empty where it is no allocation (the total falls from the start).
    """

    event: int
    step: int
    phase: Phase
    module: str
    op: str
    allocated_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseUse:
    """The highest allocated total within a phase, and what is left when it ends."""

    phase: Phase
    peak_allocated_bytes: int
    allocated_after_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The allocation at which the run stops for lack of memory.

    Attributes:
        event: its index in the stream.
        alloc: the allocation.
        nbytes: the bytes it asked for (those of the workspace, where it is one).
        requested_bytes: the segment that CUDA was asked for, after "Tried to allocate".
        allocated_bytes: allocated at that moment.
        reserved_bytes: reserved at that moment, after cached segments went back to CUDA.
    """

    event: int
    alloc: Alloc
    nbytes: int
    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int


def oom_message(refusal: Refusal, target: "DeviceTarget") -> str:
    """Return the text of torch.OutOfMemoryError for this refusal, without its closing advice.

    Device 0 is the process's own: nothing else runs on it.

    Raises:
        ValueError: the target has no capacity, so nothing can be refused.
    """
    total, capacity = target.total_bytes, target.capacity_bytes
    if total is None or capacity is None:
        raise ValueError("a target without a capacity refuses nothing")
    in_use = target.context_bytes + refusal.reserved_bytes
    allowed = f"{format_size(capacity)} allowed; " if target.is_capped else ""
    unallocated = refusal.reserved_bytes - refusal.allocated_bytes
    return (
        f"CUDA out of memory. Tried to allocate {format_size(refusal.requested_bytes)}. "
        f"GPU 0 has a total capacity of {format_size(total)} "
        f"of which {format_size(max(0, total - in_use))} is free. "
        f"Including non-PyTorch memory, this process has {format_size(in_use)} memory in use. "
        f"{allowed}"
        f"Of the allocated memory {format_size(refusal.allocated_bytes)} is allocated by PyTorch, "
        f"and {format_size(unallocated)} is reserved by PyTorch but unallocated."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProfile:
    """Allocated and reserved bytes of one run, as torch.cuda.memory_* would count them.

    Attributes:
        peak: the highest moment of the steps after the first; where the run has or reaches only
            one step, of that one.
        peak_reserved_bytes: most reserved in those steps.
        first_step: the highest moment of step 1, None where it is not reached.
        max_reserved_bytes: most reserved over everything, loading included.
        holders: what is alive at the peak, largest first.
        by_category: the peak's bytes by what they are for.
        phases: the phases of the last step reached, in order.
        timeline: the totals of the last step reached.
        module_peaks: by module path, the highest allocated total while it or a module inside it
            allocates, over the steps that `peak` covers.
        workspaces: by module path, the largest single workspace it asks for.
        largest_request: the largest single request and its bytes, None for an empty stream.
        refusal: where the run stops, None where it ends.
        unmodelled: what the stream could not account for.
    """

    peak: PeakMoment
    peak_reserved_bytes: int
    first_step: PeakMoment | None
    max_reserved_bytes: int
    holders: tuple[LiveBlock, ...]
    by_category: Mapping[Category, int]
    phases: tuple[PhaseUse, ...]
    timeline: Timeline
    module_peaks: Mapping[str, int]
    workspaces: Mapping[str, int]
    largest_request: LiveBlock | None
    refusal: Refusal | None
    unmodelled: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """What a walk came to, as far as it got.

    Attributes:
        requested: [blocks] what each asked for.
        granted: [blocks] the bytes of the block, 0 where none was needed or reached.
        room: [blocks, 2] for what is freed again at once, the largest free block of the small and
            of the large pool before it was made; -1 for other blocks.
        allocated: [events reached] the total after each event; `reserved` likewise.
        refusal: where the run stops, None where it ends.
    """

    requested: Ints
    granted: Ints
    room: Ints
    allocated: Ints
    reserved: Ints
    refusal: Refusal | None

    @property
    def max_reserved_bytes(self) -> int:
        """Most reserved over everything."""
        return int(self.reserved.max())
