"""Tasks side by side, some of which take their process with them."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest
import torch

from bevdiag.children import ChildError, announce
from bevdiag.errors import InputError
from bevdiag.trace import workers as workers_module
from bevdiag.trace.workers import usable_cores, workers


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if sys.platform != "linux" or torch.cuda.device_count() > 0:
        pytest.skip("nothing is forked here")
    monkeypatch.setattr(workers_module, "own_cores", lambda: 2)
    was_on = faulthandler.is_enabled()
    faulthandler.disable()
    yield
    if was_on:
        faulthandler.enable()
    assert not multiprocessing.active_children()


def reported(task: object, death: ChildError) -> str:
    return f"{task}: {death}"


def dies_on_odd(task: int) -> str:
    announce(f"in layer{task}")
    if task % 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    return f"{task} is well"


def test_who_dies_takes_no_other_with_it() -> None:
    with workers(dies_on_odd, died=reported) as traced:
        results = list(traced(range(5)))
    assert results[::2] == ["0 is well", "2 is well", "4 is well"]
    assert results[1] == "1: the process that traced it died of SIGSEGV in layer1"
    assert results[3] == "3: the process that traced it died of SIGSEGV in layer3"


def test_a_death_that_nobody_expects_is_an_error_without_a_verdict() -> None:
    with (
        workers(dies_on_odd) as traced,
        pytest.raises(ChildError, match=r"died of SIGSEGV in layer1$"),
    ):
        list(traced([0, 1]))


def test_who_hangs_is_killed() -> None:
    def hangs(task: int) -> str:
        announce("in neck")
        time.sleep(60 * task)
        return "done"

    with workers(hangs, died=reported, timeout_seconds=0.5) as traced:
        assert list(traced([1, 0])) == [
            "1: the process that traced it was stopped after 0.5 s without an answer in neck",
            "done",
        ]


def test_an_error_is_raised_at_its_task() -> None:
    def refuses(task: int) -> int:
        if task == 1:
            raise InputError("no such thing")
        return task

    with workers(refuses) as traced:
        results = traced([0, 1])
        assert next(results) == 0
        with pytest.raises(InputError, match="no such thing"):
            next(results)


def test_a_round_that_is_left_early_does_not_answer_the_next() -> None:
    with workers(lambda task: task * 10) as traced:
        assert next(traced([1, 2, 3, 4])) == 10
        assert list(traced([5, 6, 7])) == [50, 60, 70]


def test_the_latest_round_comes_first_and_leaves_no_core_idle() -> None:
    def begun(task: str) -> tuple[str, float]:
        time.sleep(0.1)
        return task, time.monotonic()

    with workers(begun) as traced:
        early = traced(["a", "b", "c", "d"])
        next(early)
        (late,) = traced(["urgent"])
        ended = dict(early)
    assert late[0] == "urgent"
    assert list(ended) == ["b", "c", "d"]
    assert late[1] < ended["d"]


def test_an_interrupt_ends_the_workers() -> None:
    def begin() -> None:
        with workers(lambda task: time.sleep(60)) as traced:
            traced([1, 2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()


def test_workers_divide_the_cores_and_the_last_may_use_all() -> None:
    with workers(lambda _: usable_cores()) as traced:
        assert list(traced([0, 1, 2])) == [1, 1, 2]
    with workers(lambda _: usable_cores()) as traced:
        assert list(traced([0])) == [2]


def test_workers_of_a_worker() -> None:
    def inner(task: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return task

    def outer(task: int) -> list[str]:
        with workers(inner, died=reported) as traced:
            return list(traced([task, task]))

    with workers(outer) as traced:
        (results,) = traced([7])
    assert len(results) == 2
    assert all("7: the process that traced it died of SIGKILL" in result for result in results)


def test_one_core_needs_no_worker_unless_it_must_outlive_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers_module, "own_cores", lambda: 1)
    with workers(lambda _: os.getpid()) as traced:
        assert list(traced([0])) == [os.getpid()]
    with workers(lambda _: os.getpid(), isolated=True) as traced:
        assert list(traced([0])) != [os.getpid()]


def test_where_nothing_may_be_forked_a_fresh_interpreter_that_sees_no_gpu_outlives_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers_module, "_can_fork", lambda: False)
    with workers(os.getenv, isolated=True) as traced:
        assert list(traced(["CUDA_VISIBLE_DEVICES"])) == [""]


def test_exhausted_memory_is_reported_without_a_worker_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausts(task: int) -> str:
        raise MemoryError

    monkeypatch.setattr(workers_module, "own_cores", lambda: 1)
    with workers(exhausts, died=reported) as traced:
        assert list(traced([1])) == ["1: the trace ran out of the host's memory"]
