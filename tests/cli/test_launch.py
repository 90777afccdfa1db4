import os
import signal
import subprocess
import sys
import time

import pytest

from bevdiag.cli.launch import launch
from bevdiag.errors import InputError

_LAUNCHER = (
    "import sys; from bevdiag.cli.launch import launch; "
    "ended = launch(sys.argv[1:]); sys.exit(ended.exit_code)"
)


def started(*command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_output_passes_through_untouched_and_its_end_is_remembered(capfd):
    program = (
        "import sys, os; os.write(1, b'out\\xff\\n'); os.write(2, b'first\\n'); "
        "sys.stderr.write('CUDA out of memory\\n'); sys.exit(7)"
    )
    ended = launch([sys.executable, "-c", program])
    assert ended.exit_code == 7
    assert ended.tail == "first\nCUDA out of memory\n"
    captured = capfd.readouterr()
    assert captured.err == "first\nCUDA out of memory\n"
    assert captured.out.startswith("out")


def test_only_the_end_of_a_long_log_is_kept():
    program = "import sys; sys.stderr.write('x' * 2**20 + 'the end')"
    ended = launch([sys.executable, "-c", program])
    assert ended.tail.endswith("the end")
    assert len(ended.tail) < 2**19


def test_a_command_killed_by_a_signal_ends_as_in_a_shell():
    ended = launch([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert ended.exit_code == 128 + signal.SIGKILL


def test_a_missing_command_is_one_sentence():
    with pytest.raises(InputError, match="no-such-command cannot be run: No such file"):
        launch(["no-such-command"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(number):
    program = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(40))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30)\n"
    )
    process = started(sys.executable, "-c", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(timeout=20) == 40


def test_a_grandchild_that_keeps_stderr_open_keeps_nobody():
    program = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])"
    )
    begun = time.monotonic()
    assert launch([sys.executable, "-c", program]).exit_code == 0
    assert time.monotonic() - begun < 15


def test_the_command_has_a_terminal_where_we_have_one():
    import pty

    primary, secondary = pty.openpty()
    program = "import sys; sys.exit(0 if sys.stderr.isatty() else 1)"
    process = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, sys.executable, "-c", program],
        stderr=secondary,
        check=False,
        timeout=60,
    )
    os.close(primary)
    os.close(secondary)
    assert process.returncode == 0


def test_signals_are_not_held_afterwards():
    launch([sys.executable, "-c", ""])
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGXCPU, signal.SIGALRM, signal.SIGHUP])
def test_less_usual_signals_reach_the_command(number):
    test_signals_reach_the_command(number)


_MUCH = "import os; [os.write(2, b'x' * 2**16) for _ in range(32)]; os.write(1, b'done\\n')"
"""More than any pipe holds."""


def test_a_reader_of_stderr_that_has_gone_harms_nobody():
    process = started(sys.executable, "-c", f"import sys; sys.stdin.read(1); {_MUCH}")
    assert process.stderr is not None
    process.stderr.close()
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "done\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_stderr_harms_nobody():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", _LAUNCHER, sys.executable, "-c", _MUCH],
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_a_stderr_that_takes_little_at_a_time_gets_everything():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, sys.executable, "-c", _MUCH],
        stdout=subprocess.DEVNULL,
        stderr=write_end,
    )
    os.close(write_end)
    with open(read_end, "rb") as stream:
        assert len(stream.read()) == 2**21
    assert process.wait(60) == 0


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
def test_the_command_dies_where_we_are_killed():
    process = started(sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); "
                      "time.sleep(60)")  # fmt: skip
    assert process.stdout is not None
    command = int(process.stdout.readline())
    process.kill()
    process.wait(20)
    # Its end of the pipe is closed by its death alone.
    assert process.stdout.read() == ""
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{command}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{command}")


def test_other_descriptors_are_the_command_s_too(tmp_path):
    with (tmp_path / "file").open("wb") as stream:
        program = f"import os; os.write({stream.fileno()}, b'here')"
        process = subprocess.run(
            [sys.executable, "-c", _LAUNCHER, sys.executable, "-c", program],
            pass_fds=[stream.fileno()],
            timeout=60,
            check=False,
        )
    assert process.returncode == 0
    assert (tmp_path / "file").read_bytes() == b"here"


def test_what_the_command_leaves_behind_is_still_read(tmp_path):
    """A process that goes on and writes to stderr does not die of our end."""
    os.mkfifo(tmp_path / "go")
    program = (
        "import os, subprocess, sys\n"
        'late = \'import os, sys; open(sys.argv[1]).read(); os.write(2, b"late"); '
        'open(sys.argv[2], "w").write("alive")\'\n'
        "subprocess.Popen([sys.executable, '-c', late, *sys.argv[1:]], stdout=2)\n"
    )
    process = started(
        sys.executable, "-c", program, str(tmp_path / "go"), str(tmp_path / "written")
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.wait(60) == 0
    assert process.stdout.read() == ""  # nobody that goes on has it
    with (tmp_path / "go").open("w"):
        pass
    assert process.stderr.read() == "late"
    assert (tmp_path / "written").read_text(encoding="utf-8") == "alive"
