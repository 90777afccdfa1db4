"""Import torch, cumm and spconv in a child process, which may die of it."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bevdiag.children import signal_name
from bevdiag.programs import run_program

TIMEOUT_SECONDS = 180.0
"""spconv enumerates its kernels for some seconds; a cold disk takes torch a minute."""

# -c puts the working directory first on the path; a training that runs elsewhere has it not.
_LAUNCH = (
    "import runpy, sys; del sys.path[0], sys.argv[0]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProbe:
    """How one import went.

    Attributes:
        stage: torch, cumm or spconv.
        facts: what the stage reported, empty where it failed.
        error: the exception, empty where there was none.
        signal: what the interpreter died of, e.g. "SIGFPE"; empty where it lived.
    """

    stage: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    signal: str = ""


def probe_imports(
    stages: Sequence[str], timeout: float = TIMEOUT_SECONDS
) -> tuple[ImportProbe, ...]:
    """Import what the stages name, in order; a stage that kills the child does not stop the next.

    Args:
        stages: of torch, cumm and spconv.
        timeout: seconds after which a silent child counts as hanging.
    """
    left, probes = list(stages), []
    while left:
        done = _run(left, timeout)
        probes += done
        left = left[len(done) :]
    return tuple(probes)


def _run(stages: Sequence[str], timeout: float) -> list[ImportProbe]:
    """Return the stages that one child got through, the one that it died in included."""
    child = str(Path(__file__).with_name("child.py"))
    command = [sys.executable, "-W", "ignore", "-c", _LAUNCH, child]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    ended = run_program([*command, *stages], timeout, environ)
    done = [ImportProbe(**report) for report in _reports(ended.out)]
    if len(done) < len(stages):
        done.append(_dead(stages[len(done)], ended.exit_code or 0, timeout))
    return done


def _dead(stage: str, code: int, timeout: float) -> ImportProbe:
    if code < 0:
        return ImportProbe(stage=stage, signal=signal_name(-code))
    if code > 0:
        return ImportProbe(stage=stage, error=f"the interpreter ended with exit code {code}")
    return ImportProbe(stage=stage, error=f"nothing happened for {timeout:.0f} s")


def _reports(output: str) -> list[dict[str, Any]]:
    """Return the JSON lines of the child; foreign modules may print beside them."""
    found = []
    for line in output.splitlines():
        if line.startswith('{"stage"'):
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break  # cut off in the middle: the child died while it wrote
    return found
