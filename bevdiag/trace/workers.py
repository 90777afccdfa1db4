"""Several traces at once, one process a core.

The workers are forks: they start with torch imported and with everything that the caller has made.
Where forking is not safe (anywhere but on Linux, and where a CUDA driver may have been woken) and
where there is one core, everything runs in this process, one after the other; unless the caller
wants to outlive what it runs: then the workers are fresh interpreters that see no GPU.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection
from typing import Any, Generic, TypeVar

import torch

from bevdiag.children import TIMEOUT_SECONDS, Answer, Child, ChildError, Tell

Task = TypeVar("Task")
Result = TypeVar("Result")
Map = Callable[[Sequence[Task]], Iterator[Result]]
Died = Callable[[Task, ChildError], Result]

_NAME = "the process that traced it"

_share: int | None = None
"""The cores that are left to this process, if it is a worker."""


def usable_cores() -> int:
    """How many traces run side by side."""
    cores = own_cores() if _can_fork() else 1
    return cores if _share is None else min(cores, _share)


def _can_fork() -> bool:
    # CUDA does not survive a fork, and even autograd's engine on meta tensors asks for its devices.
    return sys.platform == "linux" and torch.cuda.device_count() == 0


def own_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _raise(_: object, death: ChildError) -> Any:
    raise death


@contextmanager
def workers(
    function: Callable[[Task], Result],
    *,
    died: Died[Task, Result] = _raise,
    isolated: bool = False,
    timeout_seconds: float | None = None,
) -> Iterator[Map[Task, Result]]:
    """Run a parallel `map` of this one function; results come in the tasks' order.

    Args:
        function: any callable, closures too: forks inherit it. Tasks and results must be picklable.
        died: makes the result of a task whose process died; by default that is raised.
        isolated: never run the function in this process; it must be importable.
        timeout_seconds: for one task.
    """
    if usable_cores() <= 1 and not isolated:
        yield lambda tasks: map(partial(_here, function, died), tasks)
        return
    pool = _Pool(
        function=function,
        died=died,
        cores=usable_cores() if _can_fork() else own_cores(),
        method="fork" if _can_fork() else "spawn",
        timeout_seconds=timeout_seconds or TIMEOUT_SECONDS,
    )
    try:
        yield pool.map
    finally:
        pool.stop()


def _here(function: Callable[[Task], Result], died: Died[Task, Result], task: Task) -> Result:
    try:
        return function(task)
    except MemoryError:
        return died(task, ChildError("the trace ran out of the host's memory"))


def _work(function: Callable[[Any], object], forked: bool, task: tuple[Any, int], _: Tell) -> Any:
    """Do a task in a worker."""
    global _share
    given, _share = task
    if not forked:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # no worker needs a GPU, and a context takes memory
    return function(given)


@dataclass(slots=True, eq=False)
class _Round(Generic[Task]):
    """One call of the map."""

    waiting: deque[tuple[int, Task]]
    done: dict[int, Answer | ChildError] = field(default_factory=dict)


@dataclass(slots=True)
class _Running:
    """A task in a worker."""

    round: _Round[Any]
    index: int
    deadline: float


@dataclass(slots=True, kw_only=True)
class _Pool(Generic[Task, Result]):
    """Workers that are started when there is a task for them, and replaced when they die."""

    function: Callable[[Task], Result]
    died: Died[Task, Result]
    cores: int
    method: str
    timeout_seconds: float
    _rounds: list[_Round[Task]] = field(default_factory=list)
    _idle: list[Child] = field(default_factory=list)
    _busy: dict[Child, _Running] = field(default_factory=dict)

    def map(self, tasks: Sequence[Task]) -> Iterator[Result]:
        """Begin with the tasks; their results, as they are asked for.

        Cores that the latest call leaves idle go on with what earlier ones were given.
        """
        given = list(tasks)
        current = _Round(deque(enumerate(given)))
        self._rounds.append(current)
        self._feed()
        return self._results(current, given)

    def stop(self) -> None:
        """End all workers, whatever they are doing."""
        for child in (*self._idle, *self._busy):
            child.stop()
        self._idle.clear()
        self._busy.clear()

    def _results(self, current: _Round[Task], tasks: list[Task]) -> Iterator[Result]:
        try:
            for index, task in enumerate(tasks):
                while index not in current.done:
                    self._feed()
                    self._await()
                ended = current.done.pop(index)
                yield self.died(task, ended) if isinstance(ended, ChildError) else ended.unwrap()
        finally:
            self._rounds.remove(current)

    def _feed(self) -> None:
        while len(self._busy) < self.cores:
            current = next((one for one in reversed(self._rounds) if one.waiting), None)
            if current is None:
                return
            # Behind the last task no other waits for a core: it may use all that fall idle.
            left = sum(len(one.waiting) for one in self._rounds)
            child = self._idle.pop() if self._idle else self._start()
            index, task = current.waiting.popleft()
            child.give((task, self.cores // min(self.cores, left)))
            self._busy[child] = _Running(current, index, time.monotonic() + self.timeout_seconds)

    def _start(self) -> Child:
        work = partial(_work, self.function, self.method == "fork")
        return Child(work, name=_NAME, method=self.method, capped=True)

    def _await(self) -> None:
        """Wait until a worker has an answer, dies, or has had its time."""
        left = min(running.deadline for running in self._busy.values()) - time.monotonic()
        connection.wait([one for child in self._busy for one in child.waitables], max(0.0, left))
        for child, running in list(self._busy.items()):
            ended = self._received(child)
            if ended is not None:
                pass
            elif running.deadline <= time.monotonic():
                ended = child.silent_for(self.timeout_seconds)
            else:
                continue
            del self._busy[child]
            running.round.done[running.index] = ended
            if isinstance(ended, ChildError):
                child.stop()
            else:
                self._idle.append(child)

    def _received(self, child: Child) -> Answer | ChildError | None:
        try:
            message = child.received()
        except ChildError as death:
            return death
        assert message is None or isinstance(message, Answer)
        return message
