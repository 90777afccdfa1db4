"""From when to when every block of a step lives: what a timeline of memory is drawn from."""

from collections import defaultdict
from dataclasses import dataclass

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc, Category, EventStream, Phase
from bevdiag.memory.simulate import walk


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


def ancestors(module: str) -> list[str]:
    """Return the path itself and every module around it, without the detector."""
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))] if module else []
