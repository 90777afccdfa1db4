"""Run the training command: as if nobody stood before it, but listening for why it dies."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bevdiag.errors import InputError

_TAIL_BYTES = 2**18
"""Enough for the tracebacks of every rank of a node."""

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
_FROM_TERMINAL = 0x80
"""SI_KERNEL: a signal that the terminal sent has reached the command as well."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended: its exit code (128 + n where signal n killed it) and last words."""

    exit_code: int
    tail: str


def launch(command: Sequence[str]) -> Ended:
    """Run the command to its end.

    Its stdin and stdout are ours; what it writes to stderr passes through as it comes, through a
    terminal of its own where ours is one. Signals that reach us are passed on.

    Raises:
        InputError: there is no such command, or it cannot be run.
    """
    sys.stdout.flush()
    read_end, write_end = os.openpty() if sys.stderr.isatty() else os.pipe()
    tail = _Tail()
    with _signals_held() as waited:
        try:
            process = subprocess.Popen(  # the user's own command, as it was given
                list(command), stderr=write_end, preexec_fn=lambda: _release(waited)
            )
        except OSError as error:
            raise InputError(f"{command[0]} cannot be run: {error.strerror}") from error
        finally:
            os.close(write_end)
        reader = threading.Thread(target=tail.copy, args=(read_end,), daemon=True)
        reader.start()
        code = _wait(process, waited)
    # A grandchild that keeps stderr open must not keep us.
    reader.join(timeout=2)
    return Ended(code if code >= 0 else 128 - code, tail.text())


@contextmanager
def _signals_held() -> Iterator[set[signal.Signals]]:
    """Signals wait to be asked for, so that none is lost and each tells who sent it."""
    waited = {*_FORWARDED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    try:
        yield waited
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _release(waited: set[signal.Signals]) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, waited)


def _wait(process: "subprocess.Popen[bytes]", waited: set[signal.Signals]) -> int:
    while (code := process.poll()) is None:
        got = signal.sigtimedwait(waited, 1.0)
        if got is None or got.si_signo == signal.SIGCHLD:
            continue
        if got.si_code != _FROM_TERMINAL:
            process.send_signal(got.si_signo)
    return code


class _Tail:
    """Copies bytes to our stderr and remembers the last of them."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def copy(self, source: int) -> None:
        out = sys.stderr.fileno()
        while chunk := _read(source):
            os.write(out, chunk)
            self._chunks.append(chunk)
            self._size += len(chunk)
            while self._size - len(self._chunks[0]) > _TAIL_BYTES:
                self._size -= len(self._chunks.popleft())
        os.close(source)

    def text(self) -> str:
        return b"".join(self._chunks).decode("utf-8", "replace")


def _read(source: int) -> bytes:
    try:
        return os.read(source, 2**16)
    except OSError:
        return b""  # a pseudo-terminal whose last writer is gone answers EIO
