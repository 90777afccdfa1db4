"""The answers that need no values: what a trace knows where nobody supplies any."""

from typing import TYPE_CHECKING, Any, NoReturn

import torch

from bevdiag.trace.intervals import Intervals
from bevdiag.trace.lazy_number import LazyNumber
from bevdiag.trace.rehearsal import Question, QuestionCounter
from bevdiag.trace.unknown_values import data_dependent

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder


class KnownValues:
    """Answers what follows from the operations alone; everything else stops the trace.

    A number that is only logged is never asked for.
    """

    def __init__(self, recorder: "Recorder") -> None:
        self._recorder = recorder
        self._intervals = Intervals()
        self._counter = QuestionCounter()

    def begin_pass(self) -> None:
        """See `bevdiag.trace.unknown_values.Supplier`, as for all that follow."""
        self._counter.begin_pass()

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        self._intervals.note(func, args, outputs)

    def question(self, kind: str) -> Question:
        return self._counter.question(kind, "", self._recorder.attribution.current_path())

    def seen(self, question: Question, value: torch.Tensor) -> None:
        pass

    def mask(self, mask: torch.Tensor, question: Question) -> torch.Tensor:
        return torch.full(mask.shape, bool(self._only(mask, question)))

    def negated(self, mask: torch.Tensor, result: torch.Tensor) -> None:
        pass

    def order(
        self, shape: tuple[int, ...], dim: int, length: int, question: Question
    ) -> torch.Tensor | None:
        return None

    def rows(self, index: torch.Tensor, size: int, question: Question) -> torch.Tensor:
        self._stop(question)

    def distinct(self, count: int, question: Question, source: torch.Tensor | None = None) -> int:
        self._stop(question)

    def every(self, source: torch.Tensor, count: int) -> torch.Tensor | None:
        return None

    def branch(self, tensor: torch.Tensor, question: Question) -> bool:
        low, high = self._intervals.of(tensor)
        if low > 0 or high < 0:
            return True
        return bool(self._only(tensor, question))

    def number(self, tensor: torch.Tensor, question: Question) -> int | float:
        if not tensor.is_floating_point():
            return self.size(tensor, question)
        low, high = self._intervals.of(tensor)
        if low == high:
            return low
        return LazyNumber(
            lambda: None, lambda _: self._stop(question), lambda: self._stop(question)
        )

    def size(self, tensor: torch.Tensor, question: Question) -> int:
        return int(self._only(tensor, question))

    def copied(self, tensor: torch.Tensor, question: Question) -> torch.Tensor | None:
        return torch.full(tensor.shape, self._only(tensor, question), dtype=tensor.dtype)

    def _only(self, tensor: torch.Tensor, question: Question) -> float:
        low, high = self._intervals.of(tensor)
        if low != high:
            self._stop(question)
        return low

    def _stop(self, question: Question) -> NoReturn:
        raise data_dependent(self._recorder, f"a {question.kind} read from features")
