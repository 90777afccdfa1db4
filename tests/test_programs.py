"""Programs that say much, hang, die, or leave others behind."""

import sys
import time

import pytest

from bevdiag.programs import run_program


def test_what_a_program_said_and_how_it_ended() -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    ended = run_program([sys.executable, "-c", program], 60)
    assert (ended.exit_code, ended.out, ended.err) == (7, "out\n", "err\n")


def test_a_program_that_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError):
        run_program(["no-such-program"], 60)


def test_a_program_gets_nothing_on_stdin_and_dies_of_signals() -> None:
    program = "import os, sys; assert sys.stdin.read() == ''; os.kill(os.getpid(), 11)"
    assert run_program([sys.executable, "-c", program], 60).exit_code == -11


@pytest.mark.parametrize("hangs", [False, True])
def test_what_a_program_leaves_behind_holds_up_nobody(hangs: bool) -> None:
    program = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"print('said', flush=True); time.sleep({60 * hangs})"
    )
    began = time.monotonic()
    ended = run_program([sys.executable, "-c", program], 2 if hangs else 50)
    assert time.monotonic() - began < 30
    assert ended.exit_code == (None if hangs else 0)
    assert ended.out == "said\n"


def test_of_too_much_the_beginning_and_the_end_are_kept() -> None:
    program = "import sys; [f.write('a' + 'x' * 2**23 + 'z') for f in (sys.stdout, sys.stderr)]"
    ended = run_program([sys.executable, "-c", program], 60)
    assert (len(ended.out), len(ended.err)) == (2**22, 2**22)
    assert (ended.out[0], ended.err[-1]) == ("a", "z")
