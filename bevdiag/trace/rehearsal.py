"""The forward pass run once for real, for the values that a trace on meta tensors is asked for.

A step on meta tensors meets questions that only values answer: a branch, a count, a mask. The same
code run on the CPU with the model's initial weights meets the same questions in the same order, so
a question is named by its place and its number there, and the real run's answer is the trace's.

The real run is a fork that is made before the trace begins and waits. It starts with the first
question and stops at each one until the next is asked: nothing is computed that no question needs,
and where nothing is asked, nothing runs.
"""

import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bevdiag.channel import Channel, GarbledError, make_channel
from bevdiag.children import ending, exhausts_host
from bevdiag.trace.host_memory import available_bytes, limit_to_available
from bevdiag.trace.unknown_values import Question

MAX_FLOPS = 2e13
"""About five minutes of two cores: beyond, the count that a branch decides is an interval."""
MAX_FLOPS_OF_OTHER_SEEDS = 2e12
"""A run that computes more up to a question is not repeated with other weights."""
LONGEST_CPU_SECONDS = 600.0
"""Of the thread that runs the model, for what takes time but no arithmetic that is counted.

Time on the CPU, not on the clock: a busy host gives the same answers, later.
"""
LAST_RESORT_SECONDS = 3600.0
"""For one answer, by the clock: of a run that stands still."""
_LOOK_SECONDS = 1.0
_OUT_OF_TIME = 124
"""The exit code of a run that had its time on the CPU, as timeout(1) has it."""
_DIED = "the process that rehearsed it died"
_LONGEST_ANSWER = 1 << 28
_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Effort:
    """What a trace has asked for up to some point, and what a real run needs at least for that."""

    flops: float = 0.0
    host_bytes: int = 0


_NONE = Effort()


def _too_much(effort: Effort) -> str:
    """Why a run of this size is not made, empty if it is."""
    if effort.flops > MAX_FLOPS:
        return (
            f"the forward pass takes {effort.flops:.1e} floating point operations up to here, more "
            f"than the {MAX_FLOPS:.0e} that are rehearsed on the CPU"
        )
    free = available_bytes()
    if free is not None and effort.host_bytes > free:
        return (
            f"the forward pass takes at least {effort.host_bytes / 2**30:.1f} GiB of host memory "
            f"up to here, more than the {free / 2**30:.1f} GiB that are free"
        )
    return ""


class _UnaskedError(BaseException):
    """Nobody asks any more: no code of a user's may catch it."""


class Prompter:
    """The real run's side: answers the question that is waited for when the run comes to it."""

    def __init__(self, pipe: Channel) -> None:
        self._pipe = pipe
        self._numbers: dict[Question, torch.Tensor] = {}
        self._awaited = self._next()

    def seen(self, question: Question, value: torch.Tensor) -> None:
        """Send the answer to a question that the run now knows."""
        if value.numel() == 1:
            self._numbers[question] = value.detach().clone()
        if question == self._awaited:
            self._send(value)

    def end(self, failure: str = "") -> None:
        """End the run: what is still asked was never met, or it failed before."""
        while True:
            self._send(self._numbers.get(self._awaited), failure)

    def _send(self, value: torch.Tensor | None, failure: str = "") -> None:
        if value is not None and value.numel() * value.element_size() > _LONGEST_ANSWER:
            value, failure = None, "its values take more than 256 MiB"
        array = None if value is None else value.detach().numpy()
        self._give((array, failure))
        self._awaited = self._next()
        while (known := self._numbers.get(self._awaited)) is not None:
            self._give((known.numpy(), ""))
            self._awaited = self._next()

    def _next(self) -> Question:
        try:
            question: Question = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise _UnaskedError from error
        return question

    def _give(self, answer: object) -> None:
        try:
            self._pipe.send(answer)
        except OSError as error:
            raise _UnaskedError from error


Run = Callable[[Prompter], None]


class _Line:
    """The trace's end of a pipe to one real run, and what came through it."""

    def __init__(self) -> None:
        self.pipe, self.theirs = make_channel()
        self.answers: dict[Question, torch.Tensor | None] = {}
        self.failure = ""

    def answer(self, question: Question) -> torch.Tensor | None:
        if question not in self.answers and not self.failure:
            array, self.failure = self._ask(question)
            self.answers[question] = None if array is None else torch.from_numpy(array)
        return self.answers.get(question)

    def _ask(self, question: Question) -> tuple[Any, str]:
        try:
            self.pipe.send(question)
            answer: tuple[Any, str] = self.pipe.recv(LAST_RESORT_SECONDS)
        except TimeoutError:
            return None, f"it took more than {LAST_RESORT_SECONDS:g} s"
        except GarbledError:
            return None, "the process that rehearsed it wrote over its own answer"
        except (EOFError, OSError):
            return None, _DIED
        return answer


class Rehearsal:
    """Answers of a real run, by question. Close it when the trace is over.

    Args:
        run: builds the model, and runs its forward and loss, telling the prompter each answer.
        others: the same with other weights, for numbers that nothing else bounds.
        at_once: whether the fork is made now, or with the first question: where the trace leaves
            alone what the run starts from.
    """

    def __init__(self, run: Run, others: Sequence[Run] = (), *, at_once: bool = True) -> None:
        self._runs = (run, *others)
        self._process = 0
        self._lines = [_Line() for _ in self._runs]
        self._refusal = ""
        if at_once:
            self._begin()

    def _begin(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # From Python 3.12 on it warns of other threads, which the fork does without.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = os.fork()
        if self._process:
            os.setpgid(self._process, self._process)  # it is ended with all that it starts
        else:
            for line in self._lines:
                line.pipe.close()
            _serve(list(zip(self._runs, [line.theirs for line in self._lines], strict=True)))
        for line in self._lines:
            line.theirs.close()

    @property
    def failure(self) -> str:
        """Why there is no answer."""
        return self._refusal or self._lines[0].failure

    def answer(self, question: Question, effort: Effort = _NONE) -> torch.Tensor | None:
        """Return the real run's values, None where it cannot say; `failure` then says why.

        Args:
            question: what the trace asks.
            effort: what the run has to compute up to here.
        """
        first = self._lines[0]
        if question not in first.answers:
            self._refusal = self._refusal or _too_much(effort)
            if self._refusal:
                return None
            if not self._process:
                self._begin()
        answer = first.answer(question)
        if first.failure == _DIED and self._process:
            self._refusal = self._end()
        return answer

    def others(self, question: Question, effort: Effort = _NONE) -> list[torch.Tensor]:
        """Return the answers of other weights to a question that the first run has answered."""
        if effort.flops > MAX_FLOPS_OF_OTHER_SEEDS:
            return []
        answers = [line.answer(question) for line in self._lines[1:]]
        return [answer for answer in answers if answer is not None]

    def close(self) -> None:
        """End the real runs, wherever they are."""
        for line in self._lines:
            line.pipe.close()
        if self._process:
            self._end()

    def _end(self) -> str:
        """End the real runs, and say how the first one ended."""
        process, self._process = self._process, 0
        os.killpg(process, signal.SIGKILL)  # while its number is its own: it is waited for below
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        except ChildProcessError:  # the user's code waits for whatever ends
            return _DIED
        if code == _OUT_OF_TIME:
            return f"it took more than {LONGEST_CPU_SECONDS:g} s of one core's time"
        return f"the process that rehearsed it {ending(code)}"


def in_one_line(error: BaseException) -> str:
    """Say what an error is and says, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_MESSAGE]


def can_rehearse() -> bool:
    """Whether this system can fork."""
    return hasattr(os, "fork")


def _serve(runs: list[tuple[Run, Channel]]) -> None:
    """Serve in a fork that has run nothing yet; it never returns into the code it is of."""
    try:
        with suppress(ValueError):  # of threads, the main one alone may
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        (run, pipe), *others = runs
        select.select([pipe], [], [])
        if others and not os.fork():
            pipe.close()
            _serve(others)
        # OpenMP's workers are gone, and the thread that had them would wait for them forever.
        worker = threading.Thread(target=_prompt, args=(run, pipe))
        worker.start()
        cpu_seconds = _cpu_clock(worker)
        while worker.is_alive() and cpu_seconds() < LONGEST_CPU_SECONDS:
            worker.join(_LOOK_SECONDS)
        if worker.is_alive():
            os._exit(_OUT_OF_TIME)
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def _cpu_clock(thread: threading.Thread) -> Callable[[], float]:
    """Return what reads a thread's time on the CPU; elsewhere than on Linux, the process's."""
    if sys.platform != "linux" or thread.ident is None:
        return time.process_time
    return partial(time.clock_gettime, time.pthread_getcpuclockid(thread.ident))


def _prompt(run: Run, pipe: Channel) -> None:
    with suppress(_UnaskedError):
        prompter = Prompter(pipe)
        limit_to_available()
        _keep_quiet()
        failure = ""
        try:
            run(prompter)
        except _UnaskedError:
            raise
        except BaseException as error:  # the user's code may raise or exit as it likes
            failure = in_one_line(error)
            if exhausts_host(error):
                failure = "the host's memory does not suffice to run the forward pass"
            if os.environ.get("BEVDIAG_DEBUG"):
                import traceback

                traceback.print_exc()
        prompter.end(failure)


def _keep_quiet() -> None:
    """Keep quiet: the trace runs the same code and prints the same."""
    if os.environ.get("BEVDIAG_DEBUG"):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    sys.stdout = sys.stderr = os.fdopen(nowhere, "w")  # they may have been others
