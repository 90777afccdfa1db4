"""Several traces at once, one process a core.

The workers are forks: they start with torch imported and with everything that the caller has made.
Where forking is not safe (anywhere but on Linux, and where a CUDA driver may have been woken),
where there is one core, and inside a worker, everything runs in this process, one after the other.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")
Map = Callable[[Sequence[Task]], Iterator[Result]]

_function: Callable[..., object] | None = None


def _call(task: object) -> object:
    assert _function is not None
    return _function(task)


def usable_cores() -> int:
    """How many traces run side by side."""
    # CUDA does not survive a fork, and even autograd's engine on meta tensors asks for its devices.
    if sys.platform != "linux" or torch.cuda.device_count() > 0:
        return 1
    return len(os.sched_getaffinity(0))


@contextmanager
def workers(
    function: Callable[[Task], Result], *, most: int | None = None
) -> Iterator[Map[Task, Result]]:
    """A parallel `map` of this one function; results come in the tasks' order.

    Args:
        function: any callable, closures too: the workers inherit it. Tasks and results must be
            picklable.
    """
    global _function
    cores = usable_cores()
    if cores <= 1 or _function is not None:
        yield lambda tasks: map(function, tasks)
        return
    _function = function  # the forks inherit it: a closure cannot be sent to them
    try:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(cores, context) as pool:
            yield lambda tasks: pool.map(_call, tasks)  # type: ignore[arg-type]
    finally:
        _function = None
