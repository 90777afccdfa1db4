"""The forward pass run once for real, for the values that a trace on meta tensors is asked for.

A step on meta tensors meets questions that only values answer: a branch, a count, a mask. The same
code run on the CPU with the model's initial weights meets the same questions in the same order, so
a question is named by its place and its number there, and the real run's answer is the trace's.

The real run is a fork that is made before the trace begins and waits. It starts with the first
question and stops at each one until the next is asked: nothing is computed that no question needs,
and where nothing is asked, nothing runs.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from bevdiag.channel import Channel, GarbledError, make_channel

TIMEOUT_SECONDS = 240.0
"""For one answer; centerpoint on four Waymo samples takes about a minute on two cores."""
MAX_FLOPS = 2e13
"""About five minutes of two cores: beyond, the count that a branch decides is an interval."""
_LONGEST_ANSWER = 1 << 28


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, where in the code, while which module runs, and the how manieth time there."""

    kind: str
    place: str
    module: str
    number: int


class QuestionCounter:
    """Numbers the questions of one pass: the forward, or the backward with its recomputations."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str, str], int] = {}

    def begin_pass(self) -> None:
        """Count from zero: a checkpoint's recomputation asks what the forward pass asked."""
        self._asked.clear()

    def question(self, kind: str, place: str, module: str) -> Question:
        """The next question of this kind at this place."""
        key = kind, place, module
        number = self._asked.get(key, 0)
        self._asked[key] = number + 1
        return Question(kind, place, module, number)


class Prompter:
    """The real run's side: answers the question that is waited for when the run comes to it."""

    def __init__(self, pipe: Channel) -> None:
        self._pipe = pipe
        self._numbers: dict[Question, torch.Tensor] = {}
        self._awaited: Question = pipe.recv()

    def seen(self, question: Question, value: torch.Tensor) -> None:
        """The run knows the answer to a question now."""
        if value.numel() == 1:
            self._numbers[question] = value.detach().clone()
        if question == self._awaited:
            self._send(value)

    def end(self, failure: str = "") -> None:
        """The run is over: what is still asked was never met, or it failed before."""
        while True:
            self._send(self._numbers.get(self._awaited), failure)

    def _send(self, value: torch.Tensor | None, failure: str = "") -> None:
        if value is not None and value.numel() * value.element_size() > _LONGEST_ANSWER:
            value, failure = None, "its values take more than 256 MiB"
        array = None if value is None else value.detach().numpy()
        self._pipe.send((array, failure))
        self._awaited = self._pipe.recv()
        while (known := self._numbers.get(self._awaited)) is not None:
            self._pipe.send((known.numpy(), ""))
            self._awaited = self._pipe.recv()


Run = Callable[[Prompter], None]


class Rehearsal:
    """Answers of a real run, by question. Close it when the trace is over.

    Args:
        run: builds the model, and runs its forward and loss, telling the prompter each answer.
    """

    def __init__(self, run: Run) -> None:
        self._answers: dict[Question, torch.Tensor | None] = {}
        self.failure = ""
        self._pipe, theirs = make_channel()
        sys.stdout.flush()
        sys.stderr.flush()
        self._process = os.fork()
        if not self._process:
            self._pipe.close()
            _serve(run, theirs)
        theirs.close()

    @property
    def answered(self) -> int:
        """How many questions had an answer."""
        return sum(answer is not None for answer in self._answers.values())

    def answer(self, question: Question, *, flops: float = 0.0) -> torch.Tensor | None:
        """The real run's values, None where it cannot say; `failure` then says why.

        Args:
            question: what the trace asks.
            flops: what the trace has computed up to here, which the run must compute too.
        """
        if question in self._answers:
            return self._answers[question]
        if flops > MAX_FLOPS and not self.failure:
            self.failure = (
                f"the forward pass takes {flops:.1e} floating point operations up to here, more "
                f"than the {MAX_FLOPS:.0e} that are rehearsed on the CPU"
            )
        if self.failure:
            return None
        array, failure = self._ask(question)
        answer = None if array is None else torch.from_numpy(array)
        if failure:
            self.failure = failure
        self._answers[question] = answer
        return answer

    def _ask(self, question: Question) -> tuple[Any, str]:
        try:
            self._pipe.send(question)
            answer: tuple[Any, str] = self._pipe.recv(TIMEOUT_SECONDS)
        except TimeoutError:
            return None, f"it took more than {TIMEOUT_SECONDS:g} s on the CPU"
        except GarbledError:
            return None, "the process that rehearsed it wrote over its own answer"
        except (EOFError, OSError):
            return None, "the process that rehearsed it died (of memory?)"
        return answer

    def close(self) -> None:
        """End the real run, wherever it is."""
        self._pipe.close()
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._process, 0)


def can_rehearse() -> bool:
    """Whether this system can fork."""
    return hasattr(os, "fork")


def _serve(run: Run, pipe: Channel) -> None:
    """What the fork does: it never returns into the code that made it."""
    try:
        prompter = Prompter(pipe)
        failure = ""
        try:
            run(prompter)
        except (EOFError, OSError):
            raise
        except BaseException as error:  # the user's code may raise or exit as it likes
            failure = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            if os.environ.get("BEVDIAG_DEBUG"):
                import traceback

                traceback.print_exc()
        prompter.end(failure)
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
