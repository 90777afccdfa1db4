"""The GPU of this machine as a budget: what is free on it now, and who holds the rest."""

import os
from dataclasses import dataclass

from bevdiag.environment.gpus import GpuState, read_driver
from bevdiag.memory.catalogue import find_gpu, gpu_called
from bevdiag.memory.device import DEFAULT_GPU
from bevdiag.memory.oom import format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuAtHand:
    """The visible GPU with the least free memory.

    Attributes:
        gpu: its name in the catalogue, None where that does not have it.
        budget_bytes: what a training process can reserve: what is free, less its own context.
        words: which GPU that is, and who holds memory of it.
    """

    gpu: str | None
    budget_bytes: int
    words: str


def gpu_at_hand() -> GpuAtHand | None:
    """The GPU that a training would have to make do with; None where there is none.

    With several, a training that uses all of them stops on the one with the least free memory.
    """
    driver = read_driver()
    visible = [] if driver is None else [gpu for gpu in driver.gpus if _is_visible(gpu.index)]
    if not visible:
        return None
    state = min(visible, key=_free)
    known = gpu_called(state.name)
    context_bytes = (known or find_gpu(DEFAULT_GPU)).context_bytes
    return GpuAtHand(
        gpu=None if known is None else known.name,
        budget_bytes=max(1, _free(state) - context_bytes),
        words=_words(state),
    )


def _free(state: GpuState) -> int:
    return state.total_bytes - state.used_bytes


def _is_visible(index: int) -> bool:
    """Whether CUDA_VISIBLE_DEVICES leaves the GPU; identifiers instead of numbers leave all."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [] if wanted is None else [part.strip() for part in wanted.split(",")]
    if wanted is None or not all(number.isdigit() for number in numbers):
        return wanted != ""
    return str(index) in numbers


def _words(state: GpuState) -> str:
    holders = ", ".join(
        f"{process.name or 'a process'} (pid {process.pid})"
        + ("" if process.nbytes is None else f" holds {format_size(process.nbytes)}")
        for process in state.processes
    )
    free = f"GPU {state.index} at hand ({state.name}, {format_size(_free(state))} free"
    return f"{free}; {holders})" if holders else f"{free})"
