"""Who supplies values to a trace on meta tensors: at least what the operations alone show."""

from typing import TYPE_CHECKING, Any, NoReturn

import torch

from bevdiag.trace.intervals import Intervals
from bevdiag.trace.lazy_number import LazyNumber
from bevdiag.trace.rehearsal import Question
from bevdiag.trace.unknown_values import Asked, data_dependent

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder


class KnownValues(Asked):
    """Answers what follows from the operations alone; everything else stops the trace.

    A number that is only logged is never asked for. Whoever knows more answers instead.

    Args:
        recorder: of the trace that is stopped.
    """

    def __init__(self, recorder: "Recorder | None" = None) -> None:
        super().__init__()
        self._recorder = recorder
        self._intervals = Intervals()

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        self._intervals.note(func, args, outputs)

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
        return LazyNumber(
            lambda: None, lambda _: self._stop(question), lambda: self._stop(question)
        )

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

    def _stop(self, question: Question) -> NoReturn:
        assert self._recorder is not None
        raise data_dependent(self._recorder, f"a {question.kind} read from features")

    def question(self, kind: str) -> Question:
        # Nobody asks where: a walk through the frames for nothing.
        assert self._recorder is not None
        return self._counter.question(kind, "", self._recorder.attribution.current_path())
