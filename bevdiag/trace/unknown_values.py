"""The places where the values of a meta tensor would be needed, and who supplies them."""

from typing import TYPE_CHECKING, Any, Protocol

import torch

from bevdiag.errors import NoVerdictError
from bevdiag.trace.rehearsal import Question

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder


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

    def copied(self, tensor: torch.Tensor, question: Question) -> torch.Tensor | None:
        """Return the values of a copy on the host, None where nobody knows them."""


class DataDependenceError(NoVerdictError):
    """A shape, a branch or an index depends on values that no one has computed."""


def data_dependent(recorder: "Recorder", func: Any) -> DataDependenceError:
    """Return the error for an operation that the recorder is about to run."""
    where = recorder.attribution.current_path() or "the detector"
    return DataDependenceError(
        f"{where}: the result of {func} depends on feature values, which a run without a GPU does "
        "not compute; the module needs a rule that states the count"
    )


def copied_to_host(
    recorder: "Recorder", tensor: torch.Tensor, dtype: torch.dtype | None = None
) -> torch.Tensor | None:
    """Copy a meta tensor to the host, as zeros where nobody knows its values.

    None for a tensor that has values; the question is numbered all the same.
    """
    question = recorder.asked("copy", tensor)
    if not tensor.is_meta:
        return None
    with recorder.on_host():
        known = None
        if recorder.supplier is not None and question is not None:
            known = recorder.supplier.copied(tensor, question)
        made = torch.zeros(tensor.shape, dtype=dtype or tensor.dtype, device="cpu")
        return made if known is None else made.copy_(known)


def known_mask(
    recorder: "Recorder", func: Any, mask: torch.Tensor, question: Question | None
) -> torch.Tensor:
    """Values for a meta mask; a mask that has values is returned as it is.

    Raises:
        DataDependenceError: no one supplies any.
    """
    if not mask.is_meta:
        return mask
    if recorder.supplier is None or question is None:
        raise data_dependent(recorder, func)
    return recorder.supplier.mask(mask, question)
