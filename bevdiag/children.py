"""Child processes that may die of anything; the parent tells of what, and where.

A child says what it is about to do with `announce`, into memory that it shares with its parent:
that costs a microsecond, and the last words survive whatever came after them. Whatever a child
starts ends with it, and holds up nobody.
"""

import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker
from multiprocessing.reduction import ForkingPickler, recv_handle, send_handle
from pathlib import Path
from typing import Any, TypeVar

from bevdiag.channel import Channel, GarbledError, make_channel
from bevdiag.errors import NoVerdictError
from bevdiag.files.known import Mark, add_inputs, inputs

TIMEOUT_SECONDS = 900.0
"""For one report or result of a child, by default. The largest configs take a minute."""
BEGINNING = "before the first module ran"

_PLACE_BYTES = 512
_TAIL_BYTES = 4096
_LONGEST_LINE = 300
_ENDING_SECONDS = 10.0
"""From closing its descriptors to the end of a process."""
_PR_SET_PDEATHSIG = 1
_HASH_SEED = "PYTHONHASHSEED"
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

Task = TypeVar("Task")
Result = TypeVar("Result")
Tell = Callable[[Any], None]

_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_ours: set[Channel] = set()
"""This process's ends of the channels to its children."""
_said: deque[str] = deque(maxlen=64)
_place: Any = None
_is_captured = False


EXHAUSTED = "ran out of the host's memory"
"""What a child's error says where an allocation of its own failed."""


class ChildError(NoVerdictError):
    """A child process died, hung, or asked for more memory than the host has."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What a child says while it works."""

    value: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """How a task ended: a result, or an error with its traceback as text."""

    result: Any = None
    error: Exception | None = None
    details: str = ""
    inputs: dict[Mark, str] = field(default_factory=dict)
    """The files that were read for it."""

    def unwrap(self) -> Any:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error from RuntimeError(self.details)
        return self.result


def announce(where: str) -> None:
    """Say where this process is, in words that follow "it died": "in backbone_3d"."""
    if _place is not None:
        _place.value = where.encode(errors="replace")[: _PLACE_BYTES - 1]


def whereabouts() -> str:
    """Return what was announced last in this process."""
    return BEGINNING if _place is None else _decoded(_place)


def last_words() -> str:
    """Return what this process printed last, in words that follow a sentence; "" if nothing."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    if not _is_captured:
        return ""
    # What Python code said; programs and libraries that it has called print beside it.
    return _last_line("".join(_said)) or _last_line(_tail(1))


def _tail(descriptor: int) -> str:
    start = max(0, os.fstat(descriptor).st_size - _TAIL_BYTES)
    return os.pread(descriptor, _TAIL_BYTES, start).decode(errors="replace")


def _last_line(text: str) -> str:
    said = [line.strip() for line in text.split("\n") if line.strip()]
    return f"; the last it said was: {said[-1][:_LONGEST_LINE]}" if said else ""


class Child:
    """A process that runs `function(task, tell)` on the tasks that it is given, one by one.

    A context manager: whatever happens inside, no process is left behind.

    Args:
        function: what `tell` is given arrives here as `Reported`.
        name: what a sentence about its death begins with, e.g. "the measuring process".
        method: "fork" (functions of any kind) or "spawn" (importable ones only).
        capped: let an allocation beyond the host's memory fail rather than have the kernel choose
            whom to kill. Not for what talks to a GPU: the driver maps more than there is.
        captured: keep what the process prints to itself; its last line is reported with its death.
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
        self._killed = False
        self._place = context.RawArray("c", _PLACE_BYTES)
        # It has no name: no death can leave it behind.
        self._output = tempfile.TemporaryFile() if captured else None  # noqa: SIM115 - see stop
        self._channel, theirs = make_channel()
        _ours.add(self._channel)
        self._process = context.Process(
            target=_serve, args=(function, theirs, self._place, capped, captured)
        )
        with _same_hashes():
            self._process.start()
        theirs.close()
        self._end = _end_of(self._process)
        if self._output is not None:
            with suppress(OSError):  # it is dead: `receive` says so
                send_handle(self._channel, self._output.fileno(), self._process.pid)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def waitables(self) -> tuple[Any, Any]:
        """For `multiprocessing.connection.wait`; when one is ready, `received` may have more."""
        return self._channel, self._end

    def give(self, task: object) -> None:
        """Hand over the next task."""
        self._place.value = BEGINNING.encode()
        with suppress(OSError):  # it is dead: `receive` says so
            self._channel.send(task)

    def receive(self, timeout_seconds: float | None = None) -> Reported | Answer:
        """Wait for the next report, or the answer to the task.

        Raises:
            ChildError: there will be none.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while (message := self.received()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise self.silent_for(timeout_seconds or 0.0)
            connection.wait(self.waitables, left)
        return message

    def received(self) -> Reported | Answer | None:
        """Return what `receive` returns, if it has come; None where it may still come.

        Raises:
            ChildError: there will be none.
        """
        try:
            has_ended = bool(connection.wait([self._end], 0))
            if not self._channel.ready():
                if has_ended:
                    raise EOFError
                return None
            message: Reported | Answer = self._channel.recv()
        except GarbledError as error:
            raise self._error(f"gave an answer that cannot be read ({error})") from None
        except (EOFError, OSError):
            # Descriptors are closed a moment before the end.
            if not connection.wait([self._end], _ENDING_SECONDS):
                raise self._error("closed the descriptor that it answers by") from None
            self._kill()
            self._process.join()
            raise self._error(ending(self._process.exitcode)) from None
        if isinstance(message, Answer):
            add_inputs(message.inputs)
            if isinstance(message.error, MemoryError):
                raise self._error(EXHAUSTED)
        return message

    def silent_for(self, seconds: float) -> ChildError:
        """Return the error of a process that had its time."""
        return self._error(f"was stopped after {seconds:g} s without an answer")

    def stop(self) -> None:
        """Kill the process if it still runs, and all that it has started; wait for its end."""
        self._kill()
        self._process.join()
        _ours.discard(self._channel)
        self._channel.close()
        if self._end != self._process.sentinel:
            os.close(self._end)
        self._process.close()
        if self._output is not None:
            self._output.close()

    def _kill(self) -> None:
        """End the group; once the process has been waited for, its number is another's."""
        if not self._killed:
            self._killed = True
            with suppress(OSError):  # it has not made one yet
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()

    def _error(self, what: str) -> ChildError:
        return ChildError(f"{self._name} {what} {_decoded(self._place)}{self._last_words()}")

    def _last_words(self) -> str:
        return "" if self._output is None else _last_line(_tail(self._output.fileno()))


@contextmanager
def _same_hashes() -> Iterator[None]:
    """Have a fresh interpreter hash as any other one does.

    Sets of texts are in the same order each time, and so is what the user's code allocates by them.
    """
    before = os.environ.get(_HASH_SEED)
    os.environ[_HASH_SEED] = "0"
    try:
        yield
    finally:
        del os.environ[_HASH_SEED]
        if before is not None:
            os.environ[_HASH_SEED] = before


def in_child(
    function: Callable[[Task, Tell], Result],
    task: Task,
    *,
    name: str,
    reported: Tell = lambda _: None,
    timeout_seconds: float | None = None,
    capped: bool = False,
    captured: bool = False,
) -> Result:
    """Run `function(task, tell)` in a fresh interpreter; `reported` hears its reports.

    `capped` and `captured` as for `Child`.

    Raises:
        ChildError: the process died, or said nothing for `timeout_seconds`.
        Exception: what the function raised.
    """
    with Child(function, name=name, capped=capped, captured=captured) as child:
        child.give(task)
        while isinstance(message := child.receive(timeout_seconds or TIMEOUT_SECONDS), Reported):
            reported(message.value)
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
    function: Callable[[Any, Tell], object],
    channel: Channel,
    place: Any,
    capped: bool,
    captured: bool,
) -> None:
    global _place
    _place = place
    # What is there before a fork is no garbage of the child's: to look would copy its pages.
    gc.freeze()
    _stand_alone(channel)
    if capped and sys.platform == "linux":
        _cap_memory()
    if captured:
        _redirect_output(recv_handle(channel))
    with suppress(EOFError, OSError):  # the parent is gone
        while True:
            task = channel.recv()
            channel.send_pickled(
                _answer(function, task, lambda report: channel.send(Reported(report)))
            )


def _stand_alone(channel: Channel) -> None:
    """Leave the parent's signals and descriptors, and take along what this process will start."""
    # A terminal sends Ctrl-C to us as well; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in list(_ours):  # a fork has copies of what its parent holds
        end.close()
    _ours.clear()
    # What this process says to the tracker of multiprocessing, or writes there by mistake, would
    # be the parent's trouble.
    tracker = getattr(resource_tracker, "_resource_tracker")._fd  # noqa: B009 - not in the stubs
    if tracker is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, tracker)
        os.close(nowhere)
    if sys.platform != "win32":
        os.setpgid(0, 0)
        os.register_at_fork(after_in_child=channel.close)
    if sys.platform == "linux":
        die_with_parent()
        os.register_at_fork(after_in_child=die_with_parent)


def die_with_parent() -> None:
    """Have Linux end this process when the one that started it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_of(process: Any) -> int:
    """Open a descriptor that is ready once the process has ended, whoever else holds its pipes."""
    if sys.platform == "linux":
        with suppress(OSError):  # an old kernel
            return os.pidfd_open(process.pid)
    sentinel: int = process.sentinel
    return sentinel


def _answer(function: Callable[[Any, Tell], object], task: object, tell: Tell) -> Any:
    try:
        return ForkingPickler.dumps(Answer(function(task, tell), inputs=inputs()))
    except Exception as error:
        details = traceback.format_exc()
        raised = MemoryError() if exhausts_host(error) else error
        try:
            message = pickle.dumps(Answer(error=raised, details=details, inputs=inputs()))
            pickle.loads(message)
        except Exception:  # some exceptions cannot be rebuilt from what they were made of
            replaced = RuntimeError(f"{type(error).__name__}: {error}")
            return pickle.dumps(Answer(error=replaced, details=details, inputs=inputs()))
        return message


def _redirect_output(descriptor: int) -> None:
    global _is_captured
    _is_captured = True
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    for printed in (sys.stdout, sys.stderr):
        _remember(printed)


def _remember(stream: Any) -> None:
    """Keep the last of what Python code writes to a stream, beside letting it pass."""
    plain = stream.write

    def write(text: str) -> Any:
        _said.append(text[-_TAIL_BYTES:])
        return plain(text)

    stream.write = write


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
