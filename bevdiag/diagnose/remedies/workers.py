"""Trace several variants at once, one process a core.

The workers are forks: they start with torch imported, the scene made and the counts settled. Where
forking is not safe (anywhere but on Linux), everything runs here, one after the other.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
Map = Callable[[Sequence[Task]], Iterator[Result]]

_function: Callable[..., object] | None = None


def _call(task: object) -> object:
    assert _function is not None
    return _function(task)


@contextmanager
def workers(function: Callable[[Task], Result]) -> Iterator[Map[Task, Result]]:
    """A parallel `map` of this one function; results come in the tasks' order.

    Args:
        function: any callable, closures too: the workers inherit it. Tasks and results must be
            picklable.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    if cores == 1:
        yield lambda tasks: map(function, tasks)
        return
    global _function  # the forks inherit it; nothing else could hand over a closure
    _function = function
    try:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(cores, context) as pool:
            yield lambda tasks: pool.map(_call, tasks)  # type: ignore[arg-type,return-value]
    finally:
        _function = None
