"""Arithmetic that no operator shows: what spconv's kernels would compute on meta tensors.

Whoever counts floating point operations listens here; without a listener nothing is computed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class WorkListener(Protocol):
    """Who counts."""

    @property
    def is_counting(self) -> bool:
        """Whether what is computed right now counts."""

    def add(self, flops: int) -> None:
        """Count what a sparse layer computes."""


_listener: ContextVar[WorkListener | None] = ContextVar("bevdiag_work", default=None)


@contextmanager
def listening(listener: WorkListener) -> Iterator[None]:
    """Hand the work of the sparse layers that run inside to the listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def is_counting() -> bool:
    """Whether anybody wants to know."""
    listener = _listener.get()
    return listener is not None and listener.is_counting


def add(flops: int) -> None:
    """Tell the listener, if there is one."""
    listener = _listener.get()
    if listener is not None and listener.is_counting:
        listener.add(flops)
