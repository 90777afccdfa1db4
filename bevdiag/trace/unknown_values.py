"""Who supplies the values that meta tensors do not have."""

from typing import Any, Protocol

import torch

from bevdiag.trace.rehearsal import Question


class UnknownValues(Protocol):
    """Supplies values where a shape, a branch or a coordinate depends on those of a meta tensor.

    Every question is numbered where it arises, also those about tensors that have values: a
    rehearsal, where all have, counts the same ones.
    """

    def begin_pass(self) -> None:
        """Begin a forward or backward pass."""

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        """Note that an operation has run."""

    def question(self, kind: str) -> Question:
        """Give a number to the question that arises right now."""

    def seen(self, question: Question, value: torch.Tensor) -> None:
        """Note that the answer was there already."""


class Supplier(UnknownValues, Protocol):
    """Supplies values to a trace on meta tensors."""

    def mask(self, mask: torch.Tensor, question: Question) -> torch.Tensor:
        """Return a bool tensor with values in place of a meta one; the same for the same tensor."""

    def negated(self, mask: torch.Tensor, result: torch.Tensor) -> None:
        """Note that `result` is the meta tensor of `~mask`."""

    def order(
        self, shape: tuple[int, ...], dim: int, length: int, question: Question
    ) -> torch.Tensor | None:
        """Return indices int64 along `dim` of a tensor of this shape, `length`, none twice.

        None where they may stay without values.
        """

    def rows(self, index: torch.Tensor, size: int, question: Question) -> torch.Tensor:
        """Return an int64 index with values below `size` in place of a meta one."""

    def distinct(self, count: int, question: Question, source: torch.Tensor | None = None) -> int:
        """How many distinct ones there are among `count` rows, or among all values of `source`."""

    def every(self, source: torch.Tensor, count: int) -> torch.Tensor | None:
        """Return the source's distinct values, in order, where their number alone settles them."""

    def branch(self, tensor: torch.Tensor, question: Question) -> bool:
        """Decide the truth of a tensor."""

    def number(self, tensor: torch.Tensor, question: Question) -> int | float:
        """Return what `.item()` returns."""

    def size(self, tensor: torch.Tensor, question: Question) -> int:
        """Return what `int()` returns."""

    def copied(
        self, tensor: torch.Tensor, question: Question, *, is_read: bool = True
    ) -> torch.Tensor | None:
        """Return the values of a copy on the host, None where nobody knows them."""
