"""Streams that are closed or full, and limits of the shell: a sentence and a code that is known."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bevdiag.cli.streams import LEAST_FILES, check_addresses

CONFIG = Path(__file__).resolve().parents[1] / "rules/pointpillar.yaml"
pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's devices")


def ended(arguments: str, shell: str, *, before: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs bevdiag in a shell, with the redirections and what goes before."""
    return subprocess.run(
        ["bash", "-c", f"{before} exec {sys.executable} -m bevdiag {arguments} {shell}"],
        env={**os.environ, "PYTHONPATH": str(CONFIG.parents[2])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_change_no_verdict(shell: str, tmp_path: Path) -> None:
    for arguments, code in (
        (f"check {CONFIG} -o {tmp_path}/report", 0),
        (f"check {tmp_path}/none.yaml", 2),
        (f"check {CONFIG} --format nonsense", 2),
    ):
        assert ended(arguments, shell).returncode == code
    assert (tmp_path / "report").read_text(encoding="utf-8").startswith("Configs: 1 without errors")


def test_the_command_runs_where_streams_are_closed(tmp_path: Path) -> None:
    done = ended(
        f"preflight {CONFIG} --isolated --budget 1TiB -- touch {tmp_path}/launched", "<&- >&- 2>&-"
    )
    assert done.returncode == 0
    assert (tmp_path / "launched").exists()


@pytest.mark.parametrize("arguments", [f"check {CONFIG}", "--version", "--help", "schema", "rule"])
def test_a_full_stdout_is_a_sentence_and_never_a_verdict(arguments: str) -> None:
    done = ended(arguments, ">/dev/full")
    assert done.stderr.startswith("error: ")
    assert ": No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 3


@pytest.mark.parametrize("arguments", [f"check {CONFIG}", "rule", "--help"])
def test_a_reader_that_has_gone_is_no_error(arguments: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "bevdiag", *arguments.split()],
        env={**os.environ, "PYTHONPATH": str(CONFIG.parents[2])},
        stdout=write_end,
        stderr=subprocess.PIPE,
        timeout=100,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_stderr_changes_no_verdict() -> None:
    assert ended(f"check {CONFIG}", "2>/dev/full").returncode == 0
    assert ended("check none.yaml --format nonsense", "2>/dev/full").returncode == 2


def test_a_stdout_that_takes_little_at_a_time_gets_everything() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    process = subprocess.Popen(
        [sys.executable, "-m", "bevdiag", "schema", "inspect"],
        env={**os.environ, "PYTHONPATH": str(CONFIG.parents[2])},
        stdout=write_end,
    )
    os.close(write_end)
    with open(read_end, "rb") as stream:
        assert stream.read().endswith(b"}\n")
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("before", "arguments", "sentence"),
    [
        ("ulimit -n 8;", "check", f"may open 8 files at once and needs {LEAST_FILES}"),
        ("ulimit -v 500000;", "inspect --device meta", r"may map 488 MiB of memory and needs"),
        ("ulimit -v 650000;", "fit", r"may map 634 MiB of memory and needs"),
        ("ulimit -f 0;", "check -o report", "report cannot be written: File too large"),
        ("mkdir gone; cd gone; rmdir ../gone;", "check", "the working directory is gone"),
    ],
)
def test_a_limit_of_the_shell_is_a_sentence(
    before: str, arguments: str, sentence: str, tmp_path: Path
) -> None:
    command, *rest = arguments.split()
    done = ended(f"{command} {CONFIG} {' '.join(rest)}", "", before=f"cd {tmp_path}; {before}")
    assert done.returncode == 3
    assert sentence in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_soft_limit_is_raised() -> None:
    assert ended(f"check {CONFIG}", "", before="ulimit -S -n 8;").returncode == 0


def test_addresses_without_a_limit_are_enough() -> None:
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        pytest.skip("there is one here")
    check_addresses()
