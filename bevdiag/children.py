"""Child processes that may die of anything; the parent tells of what, and where.

A child says what it is about to do with `announce`, into memory that it shares with its parent:
that costs a microsecond, and the last words survive whatever came after them.
"""

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler, recv_handle, send_handle
from pathlib import Path
from typing import Any, TypeVar

from bevdiag.errors import NoVerdictError

TIMEOUT_SECONDS = 900.0
"""For one report or result of a child, by default. The largest configs take a minute."""
BEGINNING = "before the first module ran"

_PLACE_BYTES = 512
_TAIL_BYTES = 4096
_LONGEST_LINE = 300
_PR_SET_PDEATHSIG = 1
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

Task = TypeVar("Task")
Result = TypeVar("Result")
Tell = Callable[[Any], None]

_place: Any = None
_is_captured = False


class ChildError(NoVerdictError):
    """A child process died, hung, or asked for more memory than the host has."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a child says while it works."""

    value: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """How a task ended: a result, or an error with its traceback as text."""

    result: Any = None
    error: Exception | None = None
    details: str = ""

    def unwrap(self) -> Any:
        """The result; raises the error."""
        if self.error is not None:
            raise self.error from RuntimeError(self.details)
        return self.result


def announce(where: str) -> None:
    """Say where this process is, in words that follow "it died": "in backbone_3d"."""
    if _place is not None:
        _place.value = where.encode(errors="replace")[: _PLACE_BYTES - 1]


def whereabouts() -> str:
    """What was announced last in this process."""
    return BEGINNING if _place is None else _decoded(_place)


def last_words() -> str:
    """What this process printed last, in words that follow a sentence; "" if it keeps nothing."""
    sys.stdout.flush()
    return _last_line(1) if _is_captured else ""


def _last_line(descriptor: int) -> str:
    start = max(0, os.fstat(descriptor).st_size - _TAIL_BYTES)
    lines = os.pread(descriptor, _TAIL_BYTES, start).decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f"; the last it said was: {said[-1][:_LONGEST_LINE]}" if said else ""


class Child:
    """A process that runs `function(task, tell)` on the tasks that it is given, one by one.

    A context manager: whatever happens inside, no process is left behind.

    Args:
        function: what `tell` is given arrives here as `Told`.
        name: what a sentence about its death begins with, e.g. "the measuring process".
        method: "fork" (functions of any kind) or "spawn" (importable ones only).
        capped: let an allocation beyond the host's memory fail rather than have the kernel choose
            whom to kill. Not for what talks to a GPU: the driver maps more than there is.
        captured: keep what the process prints to itself; its last line is told with its death.
    """

    def __init__(
        self,
        function: Callable[[Any, Tell], object],
        *,
        name: str,
        method: str = "spawn",
        capped: bool = False,
        captured: bool = False,
    ) -> None:
        context: Any = multiprocessing.get_context(method)
        self._name = name
        self._place = context.RawArray("c", _PLACE_BYTES)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(function, theirs, self._place, capped, captured)
        )
        self._process.start()
        theirs.close()
        # It has no name: no death can leave it behind.
        self._output = tempfile.TemporaryFile() if captured else None  # noqa: SIM115 - see stop
        if self._output is not None:
            with suppress(OSError):  # it is dead: `receive` tells
                send_handle(self._pipe, self._output.fileno(), self._process.pid)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def waitables(self) -> tuple[Any, Any]:
        """One is ready for `multiprocessing.connection.wait` when `receive` will not wait."""
        return self._pipe, self._process.sentinel

    def give(self, task: object) -> None:
        """Hand over the next task."""
        self._place.value = BEGINNING.encode()
        with suppress(OSError):  # it is dead: `receive` tells
            self._pipe.send(task)

    def receive(self, timeout_seconds: float | None = None) -> Told | Answer:
        """The next report, or the answer to the task.

        Raises:
            ChildError: there will be none.
        """
        ready = connection.wait(self.waitables, timeout_seconds)
        if not ready:
            raise self.silent_for(timeout_seconds or 0.0)
        message: Told | Answer
        try:
            if self._pipe not in ready and not self._pipe.poll():
                raise EOFError
            message = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise self._error(ending(self._process.exitcode)) from None
        if isinstance(message, Answer) and isinstance(message.error, MemoryError):
            raise self._error("ran out of the host's memory")
        return message

    def silent_for(self, seconds: float) -> ChildError:
        """What there is to say when the process had its time."""
        return self._error(f"was stopped after {seconds:g} s without an answer")

    def stop(self) -> None:
        """Kill the process if it still runs, and wait for its end."""
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._process.close()
        if self._output is not None:
            self._output.close()

    def _error(self, what: str) -> ChildError:
        return ChildError(f"{self._name} {what} {_decoded(self._place)}{self._last_words()}")

    def _last_words(self) -> str:
        return "" if self._output is None else _last_line(self._output.fileno())


def in_child(
    function: Callable[[Task, Tell], Result],
    task: Task,
    *,
    name: str,
    told: Tell = lambda _: None,
    timeout_seconds: float | None = None,
    capped: bool = False,
    captured: bool = False,
) -> Result:
    """The result of `function(task, tell)` from a fresh interpreter; `told` hears its reports.

    `capped` and `captured` as for `Child`.

    Raises:
        ChildError: the process died, or said nothing for `timeout_seconds`.
        Exception: what the function raised.
    """
    with Child(function, name=name, capped=capped, captured=captured) as child:
        child.give(task)
        while isinstance(message := child.receive(timeout_seconds or TIMEOUT_SECONDS), Told):
            told(message.value)
    result: Result = message.unwrap()
    return result


def ending(exit_code: int) -> str:
    """How a process ended, e.g. "died of SIGSEGV"."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    name = signal_name(-exit_code)
    # The kernel does not say whom it killed for memory; nobody else sends this signal unasked.
    return f"died of {name}{' (is the host out of memory?)' if name == 'SIGKILL' else ''}"


def signal_name(number: int) -> str:
    """SIGSEGV for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _decoded(place: Any) -> str:
    text: str = place.value.decode(errors="replace")
    return text


def exhausts_host(error: BaseException) -> bool:
    """Whether an exception says that the host's memory did not suffice."""
    # PyTorch's CPU allocator raises a RuntimeError.
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _serve(
    function: Callable[[Any, Tell], object], pipe: Any, place: Any, capped: bool, captured: bool
) -> None:
    global _place
    _place = place
    # A terminal sends Ctrl-C to us as well; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if capped:
            _cap_memory()
    if captured:
        _redirect_output(recv_handle(pipe))
    with suppress(EOFError, OSError):  # the parent is gone
        while True:
            task = pipe.recv()
            pipe.send_bytes(_answer(function, task, lambda report: pipe.send(Told(report))))


def _answer(function: Callable[[Any, Tell], object], task: object, tell: Tell) -> Any:
    try:
        return ForkingPickler.dumps(Answer(function(task, tell)))
    except Exception as error:
        details = traceback.format_exc()
        told = MemoryError() if exhausts_host(error) else error
        try:
            message = pickle.dumps(Answer(error=told, details=details))
            pickle.loads(message)
        except Exception:  # some exceptions cannot be rebuilt from what they were made of
            replaced = RuntimeError(f"{type(error).__name__}: {error}")
            return pickle.dumps(Answer(error=replaced, details=details))
        return message


def _redirect_output(descriptor: int) -> None:
    global _is_captured
    _is_captured = True
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _cap_memory() -> None:
    """Let this process have as much memory as the machine, or its container, has."""
    import resource

    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no such file, or "max"
        most = min(most, int(_CGROUP_LIMIT.read_text()))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    # Not RLIMIT_AS: that counts the libraries and every address that is only reserved.
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
