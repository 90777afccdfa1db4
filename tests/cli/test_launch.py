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
