"""The installed command as a user runs it: one process a question."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from bevdiag.memory.catalogue import assumed_context

CONTEXT = assumed_context().nbytes
"""What a process holds beside its allocator; a budget is for both."""

ROOT = Path(__file__).resolve().parents[2]


def _bevdiag(small: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "bevdiag", "inspect", str(small.config), "--device", "meta"),
        *("--no-remedies", "--points", str(small.points), *arguments),
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _pinned(small: Any) -> tuple[str, str]:
    return "--assume", f"{small.site}={small.kept}"


def test_what_fits_ends_with_0_and_json_on_stdout_alone(small: Any) -> None:
    done = _bevdiag(small, *_pinned(small), "--gpu", "a100-80gb", "--format", "json")
    assert done.returncode == 0
    assert all(re.fullmatch(r"\[\d+ s\] [^:]+", line) for line in done.stderr.splitlines())
    document = json.loads(done.stdout)
    assert document["schema"] == "bevdiag.inspect/2"
    assert document["verdict"] == "fits"
    report = small.report(gpu="a100-80gb")
    assert document["peak"]["allocated_bytes"] == report.peak.allocated_bytes


def test_what_is_over_ends_with_1(small: Any) -> None:
    done = _bevdiag(small, *_pinned(small), "--full", "--budget", str(90 * 2**20 + CONTEXT))
    assert done.returncode == 1
    assert "CUDA out of memory. Tried to allocate" in " ".join(done.stdout.split())


def test_bad_usage_ends_with_2_and_one_sentence(small: Any) -> None:
    done = _bevdiag(small, "--gpu", "rtx9999")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") <= 2
    assert "rtx9999" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_depends_on_values_ends_with_3(small: Any) -> None:
    budget = small.report(pinned=False).peak.reserved_bytes
    done = _bevdiag(small, "--budget", str(budget + CONTEXT))
    assert done.returncode == 3
    assert "BEV302" in done.stdout
