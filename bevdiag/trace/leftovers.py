"""What a training step leaves to the next one: enough to write that one down without running it.

A step after the first asks for what the first one asked for, but for three things. Optimizer state,
the libraries' own buffers and what modules hold from their construction are there already. What a
head kept is let go where it is overwritten, which is where the first step wrote it. And a gradient
that no optimizer ever drops is there: a new one is added to it and goes at once.
"""

import weakref
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from bevdiag.models.contracts import Kept
from bevdiag.trace.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What the first step leaves.

    Attributes:
        overwritten: (event, block): the next step lets go of the block before what happens in it
            as this event did in the first, in this order.
        gradients: likewise, but the block that is let go is the next step's own.
        before: by module path, how many of both had happened when its forward returned last.
        older: blocks that were there before the step, which only met them.
    """

    overwritten: tuple[tuple[int, int], ...]
    gradients: tuple[tuple[int, int], ...]
    before: dict[str, int]
    older: tuple[int, ...]


class LeftoverWatch:
    """Watches the first step; a context manager around it.

    Args:
        recorder: records the step.
        model: takes it.
        lasting: names of the parameters whose gradients no optimizer drops.
    """

    def __init__(self, recorder: Recorder, model: nn.Module, lasting: Collection[str]) -> None:
        self._recorder = recorder
        self._lasting = [p for name, p in model.named_parameters() if name in lasting]
        self._older = [
            weakref.ref(value)
            for module in model.modules()
            for value in vars(module).values()
            if isinstance(value, torch.Tensor)
        ]
        self._written: dict[tuple[int, str], tuple[int, Kept]] = {}
        self._summed: dict[torch.Tensor, int] = {}
        self._departed: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> "LeftoverWatch":
        Kept.overwritten = self._overwritten
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._added)  # type: ignore[no-untyped-call]
            for parameter in self._lasting
        ]
        return self

    def __exit__(self, *_: object) -> None:
        Kept.overwritten = None
        for hook in self._hooks:
            hook.remove()

    def departed(self, path: str) -> None:
        """Note that a module's forward returns."""
        self._departed[path] = len(self._written), len(self._summed)

    def found(self) -> Leftovers:
        """Let go of what was kept, as the next step would: the model is of no use afterwards."""
        overwritten, ends = [], [0]
        for (_, key), (event, kept) in self._written.items():
            since = self._recorder.position
            dict.__setitem__(kept, key, None)
            overwritten += [(event, block) for block in self._recorder.take_frees(since)]
            ends.append(len(overwritten))
        gradients = [
            (event, block)
            for parameter, event in self._summed.items()
            if parameter.grad is not None
            and (block := self._recorder.block_of(parameter.grad)) is not None
        ]
        before = {path: ends[kept] + summed for path, (kept, summed) in self._departed.items()}
        found = [
            self._recorder.block_of(tensor) for ref in self._older if (tensor := ref()) is not None
        ]
        older = tuple(block for block in found if block is not None)
        return Leftovers(tuple(overwritten), tuple(gradients), before, older)

    def _overwritten(self, kept: Kept, key: str) -> None:
        self._written.setdefault((id(kept), key), (self._recorder.position, kept))

    def _added(self, parameter: torch.Tensor) -> None:
        self._summed.setdefault(parameter, self._recorder.position)
