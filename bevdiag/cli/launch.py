"""Run the training command: as if nobody stood before it, but listening for why it dies."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bevdiag.children import die_with_parent
from bevdiag.errors import InputError
from bevdiag.files.writing import write_all

_TAIL_BYTES = 2**18
"""Enough for the tracebacks of every rank of a node."""
_GRACE_SECONDS = 2.0
"""For what the command's own children still write once it has ended."""

_FORWARDED = (
    signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGIO,
    signal.SIGWINCH,
)  # fmt: skip
"""What a process can be sent to end it or to have it act, but for what stops and continues it."""
_OF_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGWINCH)
_FROM_KERNEL = 0x80
"""SI_KERNEL: a signal that the terminal sent has reached the command as well."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended: its exit code (128 + n where signal n killed it) and last words."""

    exit_code: int
    tail: str


def launch(command: Sequence[str]) -> Ended:
    """Run the command to its end.

    Its stdin and stdout are ours, as is every other descriptor that we were given; what it writes
    to stderr passes through as it comes, through a terminal of its own where ours is one, and is
    taken even where ours takes nothing. Signals that reach us are passed on, and on Linux the
    command is killed where we are; elsewhere it goes on.

    Raises:
        InputError: there is no such command, or it cannot be run.
    """
    sys.stdout.flush()
    read_end, write_end = os.openpty() if sys.stderr.isatty() else os.pipe()
    with _signals_held() as before:
        try:
            process = subprocess.Popen(  # the user's own command, as it was given
                list(command), stderr=write_end, close_fds=False, preexec_fn=_prepared(before)
            )
        except OSError as error:
            os.close(read_end)
            raise InputError(f"{command[0]} cannot be run: {error.strerror}") from error
        finally:
            os.close(write_end)
        copy = _Copy(read_end)
        copy.start()
        code = _wait(process)
    copy.leave()
    return Ended(code if code >= 0 else 128 - code, copy.tail())


@contextmanager
def _signals_held() -> Iterator[set[signal.Signals]]:
    """Signals wait to be asked for, so that none is lost and each tells who sent it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    try:
        yield {signal.Signals(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepared(mask: set[signal.Signals]) -> Callable[[], None]:
    """Return what the command's process does before it becomes the command."""
    parent = os.getpid()

    def prepare() -> None:
        if sys.platform == "linux":
            die_with_parent()
            if os.getppid() != parent:  # killed before it was asked for
                os._exit(128 + signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare


def _wait(process: "subprocess.Popen[bytes]") -> int:
    while (code := process.poll()) is None:
        got = signal.sigtimedwait({*_FORWARDED, signal.SIGCHLD}, 1.0)
        if got is None or got.si_signo == signal.SIGCHLD:
            continue
        if got.si_code != _FROM_KERNEL or got.si_signo not in _OF_TERMINAL:
            process.send_signal(got.si_signo)
    return code


class _Copy(threading.Thread):
    """Copies bytes to our stderr and remembers the last of them.

    Nothing that becomes of our stderr keeps it from reading: a command that nobody reads waits.
    """

    def __init__(self, source: int) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._stop_read, self._stop_write = os.pipe()
        self._out: int | None = sys.stderr.fileno()
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def run(self) -> None:
        while self._stop_read not in (ready := self._ready()):
            chunk = _read(self._source) if ready else b""
            if not chunk:
                return
            self._pass_on(chunk)
            self._chunks.append(chunk)
            self._size += len(chunk)
            while self._size - len(self._chunks[0]) > _TAIL_BYTES:
                self._size -= len(self._chunks.popleft())

    def leave(self) -> None:
        """Copy no more in this process.

        What the command has left behind may write to stderr for days, and would die of it if
        nobody were to read: a process of its own reads on.
        """
        self.join(_GRACE_SECONDS)
        if self.is_alive():
            os.write(self._stop_write, b".")
            self.join(_GRACE_SECONDS)
            if os.fork() == 0:
                self._read_on()
        if self.is_alive():
            return  # our own reader takes nothing
        for descriptor in (self._source, self._stop_read, self._stop_write):
            os.close(descriptor)

    def tail(self) -> str:
        """Return what was written last."""
        return b"".join(self._chunks).decode("utf-8", "replace")

    def _read_on(self) -> None:
        try:
            os.setsid()
            for descriptor in (0, 1):  # whoever waits for the end of ours must not wait for this
                os.dup2(self._stop_read, descriptor)
            while chunk := _read(self._source):
                self._pass_on(chunk)
        finally:
            os._exit(0)

    def _ready(self) -> list[int]:
        poll = select.poll()
        for descriptor in (self._source, self._stop_read):
            poll.register(descriptor, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll()]

    def _pass_on(self, chunk: bytes) -> None:
        if self._out is None:
            return
        try:
            write_all(self._out, chunk)
        except OSError:  # a reader that has gone, a full disk
            self._out = None


def _read(source: int) -> bytes:
    try:
        return os.read(source, 2**16)
    except OSError:
        return b""  # a pseudo-terminal whose last writer is gone answers EIO
