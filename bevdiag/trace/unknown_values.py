"""The places where the values of a meta tensor would be needed."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from bevdiag.errors import NoVerdictError
from bevdiag.trace.places import user_place
from bevdiag.trace.rehearsal import Question, QuestionCounter

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder


class Asked:
    """Numbers the questions about values that a run meets, by their place in the code.

    Every question is numbered where it arises, also those about tensors that have values: a
    rehearsal, where all have, counts the same ones.

    Attributes:
        module: names the module that is running, for places outside of the user's code.
    """

    def __init__(self) -> None:
        self.module: Callable[[], str] = str
        self._counter = QuestionCounter()

    def begin_pass(self) -> None:
        """Begin a forward or backward pass."""
        self._counter.begin_pass()

    def question(self, kind: str) -> Question:
        """Give a number to the question that the code asks right now."""
        module = self.module()
        return self._counter.question(kind, user_place(sys._getframe(1), module), module)

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        """Note that an operation has run."""

    def seen(self, question: Question, value: torch.Tensor) -> None:
        """Note that the answer was there already: nobody needs to be asked."""

    def overwritten(self, tensors: Iterable[Any]) -> None:
        """Note that an operator that nobody sees into may have written into these arguments."""


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
    recorder: "Recorder",
    tensor: torch.Tensor,
    dtype: torch.dtype | None = None,
    *,
    is_read: bool = True,
) -> torch.Tensor | None:
    """Copy a meta tensor to the host.

    None for a tensor that has values; the question is numbered all the same. Where nobody knows
    the values the copy is one of zeros if it `is_read`, else a meta tensor of the host's: training
    code copies what it logs, and a copy decides something only where it is read.
    """
    question = recorder.asked("copy", tensor)
    if not tensor.is_meta:
        return None
    with recorder.on_host():
        known = None
        if recorder.supplier is not None and question is not None:
            known = recorder.supplier.copied(tensor, question, is_read=is_read)
        if known is None and not is_read:
            kept = torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device="meta")
            recorder.hide(kept)
            return kept
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
