"""Floating point operations of a step: what a change costs in compute.

Counted are multiplications and additions of convolutions and matrix products, attention's among
them, in the forward and the backward pass, and again where a checkpoint recomputes. The formulas of
dense operations are those of `torch.utils.flop_counter`; a sparse convolution takes
2 x pairs x C_in x C_out for each of its three passes (see `sparse/functional.py`). Elementwise
work, norms and sorting are left out: they cost time by the bytes that they move, not by their
arithmetic.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.flop_counter import flop_registry

from bevdiag.sparse.work import listening
from bevdiag.trace.recorder import Recorder


class FlopCounter:
    """Counts one step of a recorded run.

    Args:
        step: the step that counts.

    Attributes:
        flops: what was counted so far.
    """

    def __init__(self, step: int) -> None:
        self.flops = 0
        self._step = step
        self._recorder: Recorder | None = None

    @property
    def is_counting(self) -> bool:
        """Whether the run has come to the step."""
        return self._recorder is not None and self._recorder.step == self._step

    def add(self, flops: int) -> None:
        """Count what a sparse layer computes."""
        self.flops += flops

    @contextmanager
    def around(self, recorder: Recorder) -> Iterator[None]:
        """Watches a recorder while its steps run."""
        self._recorder, recorder.watcher = recorder, self._note
        try:
            with listening(self):
                yield
        finally:
            self._recorder = recorder.watcher = None

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        formula = flop_registry.get(func._overloadpacket) if self.is_counting else None
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=outputs))
