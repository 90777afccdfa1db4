"""The memory of one step, as plain values for any renderer: what, when and where."""

from collections.abc import Mapping
from dataclasses import dataclass

from bevdiag.memory.profile import PhaseUse
from bevdiag.trace.wiring import LayerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One block (or several alike, `count`) alive at the peak."""

    nbytes: int
    category: str
    module: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The highest moment of the steps after the first, as torch.cuda.max_memory_allocated counts.

    `low_bytes` and `high_bytes` bound `allocated_bytes`; `reserved_bytes` is what the allocator
    holds from CUDA at most.
    """

    allocated_bytes: int
    low_bytes: int
    high_bytes: int
    reserved_bytes: int
    high_reserved_bytes: int
    phase: str
    module: str
    op: str
    holders: tuple[Holder, ...]
    by_category: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(LayerRecord):
    """One module of the layer tree with its memory.

    `saved_bytes` is what its forward pass leaves for the backward pass, children included;
    `peak_bytes` the allocated total at the highest moment inside it, forward or backward;
    `workspace_bytes` the largest workspace it asks for.
    """

    saved_bytes: int
    peak_bytes: int
    workspace_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory:
    """Where the step stops within the budget, and the message PyTorch would print."""

    requested_bytes: int
    module: str
    phase: str
    step: int
    what: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePoint:
    """Allocated and reserved bytes after some event of the steady step, for the chart."""

    phase: str
    module: str
    allocated_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a GPU measured beside the prediction (device cuda only)."""

    gpu: str
    torch: str
    cudnn: str
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    error_percent: float | None
    phases: Mapping[str, PhaseUse]
    modules: dict[str, int]
    predicted_modules: dict[str, int]
    context_bytes: int | None
    other_processes: tuple[str, ...]
    kept_voxels: dict[str, int]
    oom_message: str | None = None
    failure: str | None = None
