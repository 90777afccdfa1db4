import os
import sys
import time
from collections.abc import Callable

import pytest
import torch

from bevdiag.trace import host_memory, rehearsal
from bevdiag.trace.rehearsal import Effort, Prompter, Rehearsal
from bevdiag.trace.unknown_values import KnownValues, Question

pytestmark = pytest.mark.skipif(not rehearsal.can_rehearse(), reason="needs fork")


def _question(number: int, kind: str = "number") -> Question:
    return Question(kind, "model.py:7", "head", number)


def test_questions_are_numbered_by_place_and_anew_in_each_pass() -> None:
    asked = KnownValues()
    first, second = (asked.question("mask") for _ in range(2))
    other = asked.question("mask")
    assert first.place == second.place != other.place
    asked.begin_pass()
    assert [first.number, second.number, other.number] == [0, 1, 0]
    assert asked.question("mask").number == 0


def test_answers_come_from_the_run_and_no_further_than_asked(tmp_path: object) -> None:
    reached = os.path.join(str(tmp_path), "reached")

    def run(prompter: Prompter) -> None:
        for number in range(3):
            prompter.seen(_question(number, "mask"), torch.arange(4) > number)
        open(reached, "w").close()

    real = Rehearsal(run)
    try:
        answer = real.answer(_question(1, "mask"))
        assert answer is not None
        assert answer.tolist() == [False, False, True, True]
        assert real.answer(_question(1, "mask")) is answer
        time.sleep(0.1)
        assert not os.path.exists(reached)
    finally:
        real.close()


def test_a_number_that_was_passed_is_still_known() -> None:
    def run(prompter: Prompter) -> None:
        for number in range(3):
            prompter.seen(_question(number), torch.tensor(float(number)))

    real = Rehearsal(run)
    try:
        late, early = real.answer(_question(2)), real.answer(_question(0))
        assert late is not None
        assert early is not None
        assert (float(late), float(early)) == (2.0, 0.0)
        assert real.answer(_question(9)) is None
    finally:
        real.close()


def test_a_run_that_fails_says_why() -> None:
    def run(_: Prompter) -> None:
        raise ValueError("no such operator")

    real = Rehearsal(run)
    try:
        assert real.answer(_question(0)) is None
        assert real.failure == "ValueError: no such operator"
    finally:
        real.close()


@pytest.mark.parametrize("others", [[], [lambda _: time.sleep(60)]])
def test_a_run_that_dies_says_so(others: list[Callable[[Prompter], None]]) -> None:
    real = Rehearsal(lambda _: os._exit(3), others)
    try:
        assert real.answer(_question(0)) is None
        assert real.failure == "the process that rehearsed it ended with exit code 3"
        assert real.answer(_question(1)) is None
    finally:
        real.close()


def test_time_on_the_cpu_is_limited_not_time_on_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "LONGEST_CPU_SECONDS", 0.2)
    monkeypatch.setattr(rehearsal, "_LOOK_SECONDS", 0.02)

    def run(prompter: Prompter) -> None:
        time.sleep(0.5)  # as where others have the cores
        prompter.seen(_question(0), torch.tensor(7))
        while True:
            pass

    real = Rehearsal(run)
    try:
        answer = real.answer(_question(0))
        assert answer is not None
        assert int(answer) == 7
        assert real.answer(_question(1)) is None
        assert real.failure == "it took more than 0.2 s of one core's time"
    finally:
        real.close()


def test_a_run_that_stands_still_is_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "LAST_RESORT_SECONDS", 0.1)
    real = Rehearsal(lambda _: time.sleep(60))
    try:
        assert real.answer(_question(0)) is None
        assert real.failure == "it took more than 0.1 s"
    finally:
        real.close()


def test_too_much_arithmetic_is_not_rehearsed() -> None:
    real = Rehearsal(lambda prompter: prompter.seen(_question(0), torch.ones(1)))
    try:
        assert real.answer(_question(0), Effort(flops=2 * rehearsal.MAX_FLOPS)) is None
        assert "floating point operations" in real.failure
    finally:
        real.close()


def test_too_much_memory_is_not_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "available_bytes", lambda: 2**30)
    real = Rehearsal(lambda prompter: prompter.seen(_question(0), torch.ones(1)))
    try:
        assert real.answer(_question(0), Effort(host_bytes=2**31)) is None
        assert "at least 2.0 GiB of host memory" in real.failure
        assert "1.0 GiB that are free" in real.failure
    finally:
        real.close()


@pytest.mark.skipif(sys.platform != "linux", reason="limits on Linux alone")
def test_a_run_that_outgrows_the_host_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "available_bytes", lambda: 2**27)

    def run(prompter: Prompter) -> None:
        # A single one may still find room in what this process freed and kept.
        [torch.empty(2**28) for _ in range(64)]

    real = Rehearsal(run)
    try:
        assert real.answer(_question(0)) is None
        assert "memory does not suffice" in real.failure
    finally:
        real.close()


def test_a_run_has_its_threads_whatever_was_computed_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.ones(2**20).exp()  # OpenMP's workers begin

        def run(prompter: Prompter) -> None:
            torch.set_num_threads(2)
            prompter.seen(_question(0), torch.ones(2**20).exp().sum())

        real = Rehearsal(run)
        try:
            assert real.answer(_question(0)) is not None
        finally:
            real.close()
    finally:
        torch.set_num_threads(before)


def test_other_weights_are_asked_only_where_the_first_has_little_to_compute() -> None:
    def answering(value: int) -> Callable[[Prompter], None]:
        return lambda prompter: prompter.seen(_question(0), torch.tensor(value))

    real = Rehearsal(answering(0), [answering(1), answering(2)])
    try:
        assert real.answer(_question(0)) is not None
        much = Effort(flops=2 * rehearsal.MAX_FLOPS_OF_OTHER_SEEDS)
        assert real.others(_question(0), much) == []
        assert [int(answer) for answer in real.others(_question(0))] == [1, 2]
        assert real.others(_question(5)) == []
    finally:
        real.close()
