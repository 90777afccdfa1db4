"""What the stubs need of the trace that is running: one a child process."""

from dataclasses import dataclass

from torch import Tensor

from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues


@dataclass(slots=True)
class Running:
    """The trace that is running.

    Attributes:
        boxes: the ground truth's, [B, boxes, 7 or more]; None while the model is being built.
    """

    gpu: SimulatedGpu
    values: AssumedValues | RehearsedValues
    boxes: Tensor | None = None


_running: list[Running] = []


def begin(running: Running) -> None:
    """From here on, stubs work for this trace."""
    _running[:] = [running]


def running() -> Running | None:
    """Return the trace that is running, None where code runs on real tensors."""
    return _running[0] if _running else None


def current() -> Running:
    """Return the trace that is running.

    Raises:
        RuntimeError: none is.
    """
    if not _running:
        raise RuntimeError("this operation of the GPU was called outside of a traced step")
    return _running[0]


_noted: list[str] = []


def note(sentence: str) -> None:
    """Say something of the trace, unless it was said before in this process."""
    if sentence not in _noted:
        _noted.append(sentence)


def noted() -> tuple[str, ...]:
    """Return what was said so far in this process."""
    return tuple(_noted)
