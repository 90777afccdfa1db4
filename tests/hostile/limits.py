"""Runs the command in a fork that may take little time and memory, and tells how it ended."""

import contextlib
import io
import json
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path

import torch

# What the command imports when it runs, so that no fork has to.
import bevdiag.prediction.inspect
import bevdiag.report.text.inspect_report  # noqa: F401
from bevdiag.cli.main import run

CPU_SECONDS = 5
GROWTH_BYTES = 2**30


@dataclass(frozen=True)
class Ending:
    """How a run ended; the code is negative where a signal ended it."""

    code: int
    out: str
    err: str
    growth_bytes: int


def ended(*arguments: str) -> Ending:
    """Runs `bevdiag *arguments`; too much time ends it with SIGXCPU, memory with an error."""
    torch.set_num_threads(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_limited(arguments, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        reported = pipe.read()
    _, status = os.waitpid(child, 0)
    if not reported:
        return Ending(os.waitstatus_to_exitcode(status), "", "", 0)
    return Ending(*json.loads(reported))


def _run_limited(arguments: tuple[str, ...], writer: int) -> None:
    try:
        # Work is not spread over more processes, whose time and memory nobody would count.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        resource.setrlimit(resource.RLIMIT_AS, (_mapped_bytes() + GROWTH_BYTES,) * 2)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        seconds = int(used) + CPU_SECONDS
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = int(run(list(arguments)))
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        reported = (code, out.getvalue(), err.getvalue(), growth * 1024)
        with open(writer, "wb") as pipe:
            pipe.write(json.dumps(reported).encode("utf-8", "surrogatepass"))
    finally:
        os._exit(0)


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
