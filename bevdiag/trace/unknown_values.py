"""The places where the values of a meta tensor would be needed, and who supplies them.

Without anybody else, what the operations alone show is known.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import torch

from bevdiag.errors import NoVerdictError
from bevdiag.trace.known_facts import Intervals
from bevdiag.trace.lazy_number import LazyNumber
from bevdiag.trace.places import user_place


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, where in the code, while which module runs, and the how manieth time there."""

    kind: str
    place: str
    module: str
    number: int


class DataDependenceError(NoVerdictError):
    """A shape, a branch or an index depends on values that no one has computed."""


def data_dependent(module: str, what: str) -> DataDependenceError:
    """Return the error for an operation that is about to run in a module."""
    return DataDependenceError(
        f"{module or 'the detector'}: the result of {what} depends on feature values, which a run "
        "without a GPU does not compute; the module needs a rule that states the count"
    )


class KnownValues:
    """Answers what follows from the operations alone; everything else stops the trace.

    A number that is only logged is never asked for. Whoever knows more answers instead.

    Questions are numbered by their place in the code, where they arise, also those about tensors
    that have values: a rehearsal, where all have, counts the same ones.

    Attributes:
        module: names the module that is running, for places outside of the user's code.
    """

    def __init__(self) -> None:
        self.module: Callable[[], str] = str
        self._numbers: Counter[tuple[str, str, str]] = Counter()
        self._intervals = Intervals()

    def begin_pass(self) -> None:
        """Count from zero: a checkpoint's recomputation asks what the forward pass asked."""
        self._numbers.clear()

    def question(self, kind: str) -> Question:
        """Give a number to the question that the code asks right now."""
        module = self.module()
        key = kind, user_place(sys._getframe(1), module), module
        self._numbers[key] += 1
        return Question(*key, self._numbers[key] - 1)

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        """Note that an operation has run."""
        self._intervals.note(func, args, outputs)

    def seen(self, question: Question, value: torch.Tensor) -> None:
        """Note that the answer was there already: nobody needs to be asked."""

    def overwritten(self, tensors: Iterable[Any]) -> None:
        """Note that an operator that nobody sees into may have written into these arguments."""

    def mask(self, mask: torch.Tensor, question: Question) -> torch.Tensor:
        """Return a bool tensor with values in place of a meta one; the same for the same tensor."""
        return torch.full(mask.shape, bool(self._only(mask, question)))

    def negated(self, mask: torch.Tensor, result: torch.Tensor) -> None:
        """Note that `result` is the meta tensor of `~mask`."""

    def order(
        self, shape: tuple[int, ...], dim: int, length: int, question: Question
    ) -> torch.Tensor | None:
        """Return indices int64 along `dim` of a tensor of this shape, `length`, none twice.

        None where they may stay without values.
        """
        return None

    def rows(self, index: torch.Tensor, size: int, question: Question) -> torch.Tensor:
        """Return an int64 index with values below `size` in place of a meta one."""
        self._stop(question)

    def distinct(self, count: int, question: Question, source: torch.Tensor | None = None) -> int:
        """How many distinct ones there are among `count` rows, or among all values of `source`."""
        self._stop(question)

    def every(self, source: torch.Tensor, count: int) -> torch.Tensor | None:
        """Return the source's distinct values, in order, where their number alone settles them."""
        return None

    def branch(self, tensor: torch.Tensor, question: Question) -> bool:
        """Decide the truth of a tensor."""
        low, high = self._intervals.of(tensor)
        if low > 0 or high < 0:
            return True
        return bool(self._only(tensor, question))

    def number(self, tensor: torch.Tensor, question: Question) -> int | float:
        """Return what `.item()` returns."""
        if not tensor.is_floating_point():
            return self.size(tensor, question)
        low, high = self._intervals.of(tensor)
        if low == high:
            return low
        stop = partial(self._stop, question)
        return LazyNumber(lambda: None, stop, stop)

    def size(self, tensor: torch.Tensor, question: Question, lowest: int = 0) -> int:
        """Return what `int()` returns: of a count that is assumed, `lowest` or more."""
        return int(self._only(tensor, question))

    def copied(
        self, tensor: torch.Tensor, question: Question, *, is_read: bool = True
    ) -> torch.Tensor | None:
        """Return the values of a copy on the host, None where nobody knows them."""
        return torch.full(tensor.shape, self._only(tensor, question), dtype=tensor.dtype)

    def _only(self, tensor: torch.Tensor, question: Question) -> float:
        low, high = self._intervals.of(tensor)
        if low != high:
            self._stop(question)
        return low

    def _stop(self, question: Question, _: object = None) -> NoReturn:
        raise data_dependent(question.module, f"a {question.kind} read from features")
