"""What a parent makes of children that die of this and that; each is forked, which is quick."""

import contextlib
import faulthandler
import gc
import multiprocessing
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevdiag.children import (
    Answer,
    Child,
    ChildError,
    Reported,
    Tell,
    announce,
    ending,
    exhausts_host,
    in_child,
    last_words,
    signal_name,
    whereabouts,
)
from bevdiag.errors import ConfigError, ExitCode, InputError
from bevdiag.files.known import forget, note_output
from bevdiag.files.reading import read_file

Function = Callable[[Any, Tell], object]


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    # pytest's handler, which a fork inherits, would print every death.
    was_on = faulthandler.is_enabled()
    faulthandler.disable()
    yield
    if was_on:
        faulthandler.enable()
    assert not multiprocessing.active_children()


def answer(function: Function, task: object = None, seconds: float = 20.0, **wanted: Any) -> Any:
    with Child(function, name="the child", method="fork", **wanted) as child:
        child.give(task)
        message = child.receive(seconds)
        assert not isinstance(message, Reported)
        return message.unwrap()


def in_backbone(death: Callable[[], object]) -> Function:
    def die(_task: object, _tell: Tell) -> object:
        announce("in backbone_3d.conv1")
        return death()

    return die


def out_of_memory() -> None:
    raise MemoryError


def torch_out_of_memory() -> None:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")


def divide_by_zero_in_c() -> None:
    os.kill(os.getpid(), signal.SIGFPE)


def follow_a_wild_pointer() -> None:
    import ctypes

    ctypes.string_at(0)


@pytest.mark.parametrize(
    ("death", "cause"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"died of SIGKILL \(is the host out of"),
        (follow_a_wild_pointer, "died of SIGSEGV"),
        (divide_by_zero_in_c, "died of SIGFPE"),
        (os.abort, "died of SIGABRT"),
        (lambda: os._exit(7), "ended with exit code 7"),
        (lambda: sys.exit(0), "ended with exit code 0"),
        (out_of_memory, "ran out of the host's memory"),
        (torch_out_of_memory, "ran out of the host's memory"),
    ],
)
def test_a_death_has_its_cause_and_place(death: Callable[[], object], cause: str) -> None:
    with pytest.raises(ChildError, match=rf"^the child {cause}.* in backbone_3d\.conv1$") as raised:
        answer(in_backbone(death))
    assert raised.value.exit_code is ExitCode.NO_VERDICT


def test_a_child_that_hangs_is_killed() -> None:
    began = time.monotonic()
    with pytest.raises(
        ChildError, match=r"^the child was stopped after 0\.3 s without an answer in backbone_3d"
    ):
        answer(in_backbone(lambda: time.sleep(60)), seconds=0.3)
    assert time.monotonic() - began < 20


def test_an_allocation_beyond_the_host_fails_instead_of_waking_the_kernel() -> None:
    if sys.platform != "linux":
        pytest.skip("there is no such limit")
    # Overcommitment would let many blocks of less than the memory pass, each for itself.
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8
    with pytest.raises(ChildError, match="ran out of the host's memory in backbone_3d"):
        answer(in_backbone(lambda: len([np.empty(size, np.uint8) for _ in range(9)])), capped=True)


def test_a_child_that_dies_before_it_says_anything() -> None:
    with pytest.raises(ChildError, match="ended with exit code 1 before the first module ran"):
        answer(lambda _task, _tell: os._exit(1))


def test_tasks_one_by_one() -> None:
    with Child(lambda task, _: (task, os.getpid()), name="the child", method="fork") as child:
        answers = []
        for task in ("a", "b"):
            child.give(task)
            message = child.receive(20)
            assert not isinstance(message, Reported)
            answers.append(message.unwrap())
    assert [text for text, _ in answers] == ["a", "b"]
    assert len({process for _, process in answers} - {os.getpid()}) == 1


def test_a_fork_does_not_look_for_garbage_among_what_its_parent_made() -> None:
    before = gc.get_freeze_count()
    with Child(lambda *_: gc.get_freeze_count(), name="the child", method="fork") as child:
        child.give(None)
        answer = child.receive(60.0)
    assert isinstance(answer, Answer)
    assert answer.unwrap() > before
    assert gc.get_freeze_count() == before


def test_a_large_answer_arrives_whole() -> None:
    assert answer(lambda task, _: b"x" * task, 2**20) == b"x" * 2**20


class _OddError(Exception):
    """Cannot be made again from its message."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def odd() -> None:
    raise _OddError(1, 2)


def wrong_config() -> None:
    raise ConfigError("bad", key="MODEL.NAME")


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (wrong_config, ConfigError, "MODEL.NAME: bad"),
        (odd, RuntimeError, "_OddError: 1 and 2"),
        (lambda: threading.Lock(), TypeError, "cannot pickle"),
    ],
)
def test_what_a_child_raises_is_raised_here(
    failure: Callable[[], object], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as raised:
        answer(in_backbone(failure))
    assert "Traceback" in str(raised.value.__cause__)


def add(task: tuple[int, int], tell: Tell) -> int:
    for number in task:
        tell(number)
    return sum(task)


def test_reports_come_before_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: fork)
    heard: list[int] = []
    assert in_child(add, (2, 3), name="the child", reported=heard.append) == 5
    assert heard == [2, 3]


def test_outside_a_child_an_announcement_goes_nowhere() -> None:
    announce("in backbone_3d")
    assert whereabouts() == "before the first module ran"


def test_a_place_longer_than_its_room_is_cut() -> None:
    def die(_task: object, _tell: Tell) -> None:
        announce("in " + "a" * 5000)
        os._exit(2)

    with pytest.raises(ChildError, match=r"in a{500,512}$"):
        answer(die)


def test_what_a_captured_child_printed_last_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    def say(_task: object, _tell: Tell) -> None:
        os.write(1, b"x" * 5000 + b"\n")
        os.write(2, b"terminate called\n\n")
        os._exit(3)

    with pytest.raises(ChildError, match="first module ran; the last it said was: terminate call"):
        answer(say, captured=True)
    assert capfd.readouterr() == ("", "")


def test_a_captured_child_that_said_nothing() -> None:
    with pytest.raises(ChildError, match=r"before the first module ran$"):
        answer(lambda _task, _tell: os._exit(3), captured=True)


def test_what_its_code_said_is_quoted_rather_than_what_a_program_said() -> None:
    def leave(_task: object, _tell: Tell) -> str:
        print("no such data set")
        os.write(2, b"usage: git [-v | --version] [-h | --help]\n")
        return last_words()

    assert answer(leave, captured=True) == "; the last it said was: no such data set"


def scribble(everywhere: object, _tell: Tell) -> bytes:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            # A fork has pytest's own files as well, where junk would be seen.
            if everywhere or stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"junk\x00\x00\x00\x01" * 9)
    return b"x" * 2**20


@pytest.mark.parametrize("captured", [False, True])
def test_junk_on_inherited_descriptors_is_passed_over(captured: bool) -> None:
    assert answer(scribble, captured=captured) == b"x" * 2**20


def test_junk_disturbs_no_fresh_interpreter_either(capfd: pytest.CaptureFixture[str]) -> None:
    size = len(in_child(scribble, True, name="the child", timeout_seconds=60, captured=True))
    assert size == 2**20
    assert capfd.readouterr() == ("", "")


def test_junk_inside_an_answer_is_noticed() -> None:
    def interrupted(_task: object, _tell: Tell) -> None:
        channel, mark = children_channel()
        channel.sendall(mark + struct.pack(">QI", 100, 1) + b"x" * 200)
        time.sleep(60)

    with pytest.raises(ChildError, match=r"gave an answer that cannot be read \(others wrote"):
        answer(interrupted)


def test_a_message_cut_off_by_death_is_not_waited_for() -> None:
    def die(_task: object, _tell: Tell) -> None:
        channel, mark = children_channel()
        channel.sendall(mark + struct.pack(">QI", 100, 1) + b"x")
        os._exit(5)

    with pytest.raises(ChildError, match="ended with exit code 5"):
        answer(die)


def children_channel() -> tuple[socket.socket, bytes]:
    """What the child that calls this answers by."""
    frame = sys._getframe()
    while frame.f_code.co_name != "_serve":
        assert frame.f_back is not None
        frame = frame.f_back
    channel = frame.f_locals["channel"]
    return channel._stream, channel._mark


def test_a_child_that_closes_its_descriptors_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def close(_task: object, _tell: Tell) -> None:
        os.closerange(3, 256)
        time.sleep(60)

    monkeypatch.setattr("bevdiag.children._ENDING_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(ChildError, match="closed the descriptor that it answers by"):
        answer(close, seconds=50)
    assert time.monotonic() - began < 30


def fork_in_c() -> int:
    """Past Python, as compiled code forks."""
    import ctypes

    return ctypes.CDLL(None).fork()


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
@pytest.mark.parametrize("leave", [lambda: os._exit(4), lambda: None])
def test_grandchildren_hold_up_nobody_and_end_too(
    fork: Callable[[], int], leave: Callable[[], None]
) -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere a pipe tells of the end")

    def start(_task: object, tell: Tell) -> int:
        grandchild = fork()
        if grandchild == 0:
            time.sleep(60)
            os._exit(0)
        tell(grandchild)
        leave()
        return grandchild

    began = time.monotonic()
    with Child(start, name="the child", method="fork", captured=True) as child:
        child.give(None)
        first = child.receive(20)
        assert isinstance(first, Reported)
        with contextlib.suppress(ChildError):
            child.receive(50)
    assert time.monotonic() - began < 30
    assert ended(first.value)


def ended(process: int) -> bool:
    """Whether it ends within the time that a kill takes."""
    deadline = time.monotonic() + 20
    while _lives(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _lives(process)


def test_what_a_child_read_is_known_here(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").touch()

    def read(_task: object, _tell: Tell) -> bytes:
        return read_file(tmp_path / "base.yaml", 10)

    forget()
    answer(read)
    with pytest.raises(InputError, match="is read"):
        note_output(tmp_path / "base.yaml", "-o")
    forget()


def test_the_names_of_deaths() -> None:
    assert ending(3) == "ended with exit code 3"
    assert ending(-signal.SIGBUS) == "died of SIGBUS"
    assert signal_name(250) == "signal 250"
    assert exhausts_host(MemoryError())
    assert not exhausts_host(RuntimeError("CUDA out of memory"))


_PARENT = """
import os, time
from bevdiag.children import Child

def hang(task, tell):
    tell(os.getpid())
    time.sleep(60)

with Child(hang, name="the child", method="fork") as child:
    child.give(None)
    print(child.receive(20).value, flush=True)
    child.receive(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_does_not_outlive_its_parent(number: signal.Signals) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child of its parent's death")
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        parent.wait(20)
    assert ended(child)


def _lives(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _hashed(text: str, _: Tell) -> tuple[int, str | None]:
    return hash(text), os.environ.get("PYTHONHASHSEED")


def test_sets_are_in_the_same_order_in_every_fresh_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashes = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        hashes.append(in_child(_hashed, "bevdiag", name="the process"))
        assert os.environ["PYTHONHASHSEED"] == seed, "programs that the user starts keep theirs"
    assert hashes == [(hashes[0][0], "0")] * 2
