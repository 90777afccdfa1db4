import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bevdiag.source.locks import divert_programs

_CODE = """
import os, socket, subprocess, sys
from pathlib import Path
from bevdiag.source import locks
from bevdiag.source.scratch import Scratch
inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
scratch = Scratch(inside, [])
locks.lock(scratch)
{attempt}
"""
_ATTEMPTS = {
    "open": "open(outside / 'new', 'w')",
    "open to read and write": "open(outside / 'kept', 'r+')",
    "mkdir": "os.mkdir(outside / 'new')",
    "remove": "os.remove(outside / 'kept')",
    "rename": "os.rename(outside / 'kept', outside / 'new')",
    "symlink": "os.symlink('x', outside / 'new')",
    "truncate": "os.truncate(outside / 'kept', 0)",
    "chmod": "os.chmod(outside / 'kept', 0)",
    "relative to a descriptor": ("os.mkdir('new', dir_fd=os.open(outside, os.O_RDONLY))"),
    "subprocess": "subprocess.run(['true'])",
    "system": "os.system('true')",
    "fork": "os.fork()",
    "kill": "os.kill(os.getppid(), 0)",
    "connection": "socket.create_connection(('127.0.0.1', 1))",
}


def _run(attempt: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    return subprocess.run(
        [sys.executable, "-c", _CODE.format(attempt=attempt), tmp_path / "inside",
         tmp_path / "outside"],
        capture_output=True,
        text=True,
    )  # fmt: skip


@pytest.mark.parametrize("attempt", _ATTEMPTS.values(), ids=_ATTEMPTS)
def test_what_cannot_be_diverted_is_refused(attempt: str, tmp_path: Path) -> None:
    done = _run(attempt, tmp_path)
    assert "which is refused while the step is traced" in done.stderr
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["kept"]
    assert (tmp_path / "outside" / "kept").read_text() == "kept"


def test_the_scratch_folder_and_devices_can_be_written_to(tmp_path: Path) -> None:
    done = _run(
        "(inside / 'a').mkdir(); (inside / 'a' / 'b').write_text('x'); open(os.devnull, 'w')\n"
        "os.rename(inside / 'a' / 'b', inside / 'c'); print((outside / 'kept').read_text())",
        tmp_path,
    )
    assert done.stdout == "kept\n", done.stderr


def test_compiled_code_is_held_to_the_folder_where_the_kernel_can(tmp_path: Path) -> None:
    attempt = (
        "import ctypes; libc = ctypes.CDLL(None)\n"
        "made = libc.mkdir(os.fsencode(outside / 'new'), 0o700)\n"
        "print(made, locks._ask_kernel(inside))"
    )
    made, held = _run(attempt, tmp_path).stdout.split()
    if held == "False":
        pytest.skip("this kernel has no Landlock")
    assert made == "-1"
    assert not (tmp_path / "outside" / "new").exists()


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setattr(subprocess, "Popen", subprocess.Popen)
    monkeypatch.setattr(os, "system", os.system)
    reported: list[str] = []
    divert_programs(reported)
    return reported


def test_a_program_says_nothing_and_ends_well(findings: list[str]) -> None:
    assert subprocess.run(["false"], check=True).returncode == 0
    assert subprocess.check_output("false", shell=True) == b""
    assert subprocess.check_output(["echo", "x"], text=True) == ""
    assert subprocess.getoutput("echo x") == ""
    assert os.popen("echo x").read() == ""
    assert os.system("false") == 0
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait() == 0


def test_each_is_reported(findings: list[str]) -> None:
    subprocess.run(["git", "rev-parse", "HEAD"], stdout=subprocess.PIPE)
    (reported,) = findings
    assert "the program `git rev-parse HEAD` was not started" in reported
