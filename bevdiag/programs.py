"""Programs that bevdiag runs to hear what they say: bounded in time, and ended with all they start.

What a program says goes to files rather than through pipes: a process that it leaves behind may
hold a pipe open for hours, and whoever waits for its end would wait for that process.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from bevdiag.children import die_with_parent

_MOST_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a program.

    Attributes:
        exit_code: negative where a signal ended it, None where its time was over.
        out: the beginning of what it said on stdout.
        err: the end of what it said on stderr.
    """

    exit_code: int | None
    out: str
    err: str


def run_program(
    command: Sequence[str], seconds: float, environ: Mapping[str, str] | None = None
) -> Finished:
    """Run a program to its end, or for so many seconds.

    Raises:
        OSError: it cannot be started.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environ,
            start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        code = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(seconds)
        finally:
            _end(process)
        size = err.seek(0, os.SEEK_END)
        return Finished(code, _text(out, 0), _text(err, max(0, size - _MOST_BYTES)))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of the program, and what it has started."""
    if sys.platform != "win32":
        with suppress(OSError):  # nothing is left
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _text(file: IO[bytes], begin: int) -> str:
    file.seek(begin)
    return file.read(_MOST_BYTES).decode("utf-8", "replace")
