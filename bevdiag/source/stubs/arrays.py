"""Operators of the GPU on NumPy arrays, where all that they read and write has values."""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from hashlib import blake2b
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.source.mixed_values import without_values
from bevdiag.source.state import running
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.places import user_place

Op = Callable[..., Any]
Array = NDArray[Any]
Ints = NDArray[np.int64]


class _ForOutputs:
    """Marks a parameter that an operator writes into."""


Filled = Annotated[Array, _ForOutputs]
"""Memory that the caller allocated and the operator fills, wholly or in part."""
FilledTensor = Annotated[Tensor, _ForOutputs]
"""The same, for what fills tensors without looking at values."""


def fills_its_outputs(*_: Any) -> int:
    """Do what a wrapper that writes into meta tensors has to do."""
    return 1


def native(names: str) -> Callable[[Op], Op]:
    """Give an operator the parameters of its C++ function; it takes those that it names itself.

    Args:
        names: of the C++ function's parameters, in order.
    """
    order = names.split()

    def given(compute: Op) -> Op:
        own = signature(compute).parameters
        places = [order.index(name) for name in own]
        named = [own.get(n) or Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in order]

        @wraps(compute)
        def op(*args: Any) -> Any:
            return compute(*(args[place] for place in places))

        op.__signature__ = Signature(named)  # type: ignore[attr-defined]
        return op

    return given


def on_values(compute: Op, otherwise: Op = fills_its_outputs) -> Op:
    """Make an operator that computes where every tensor among its arguments has values.

    `compute` gets the tensors' memory as arrays and writes into those that the caller allocated,
    its `Filled` parameters; returning None counts as success, 1. NumPy does the work because
    nothing is recorded there: the kernels allocate nothing that PyTorch knows of, and, like them,
    says nothing of infinities. `otherwise` gets the arguments as they are. What it does not fill
    itself has no values from there on: what the wrapper had put there is no answer.
    """
    filled, answered = _filled_by(compute), _filled_by(otherwise)

    @wraps(compute)
    def op(*args: Any) -> Any:
        if any(isinstance(arg, Tensor) and arg.is_meta for arg in args):
            result = otherwise(*args)
            lose_values(
                arg for place, arg in enumerate(args) if filled(place) and not answered(place)
            )
            return result
        with np.errstate(all="ignore"):
            result = compute(*(array(arg) if isinstance(arg, Tensor) else arg for arg in args))
        return 1 if result is None else result

    return op


def _filled_by(function: Op) -> Callable[[int], bool]:
    """Whether a function fills its argument at a place, by the marks of its parameters."""
    marks = [
        (_ForOutputs in getattr(parameter.annotation, "__metadata__", ()), parameter.kind)
        for parameter in signature(function).parameters.values()
    ]
    open_end = bool(marks) and marks[-1][0] and marks[-1][1] is Parameter.VAR_POSITIONAL
    return lambda place: marks[place][0] if place < len(marks) else open_end


def lose_values(outputs: Iterable[Any]) -> None:
    """Make tensors meta that an operator has filled with what nobody knows.

    Where another tensor looks at the same memory that cannot be, and the step has no upper end.
    """
    trace = running()
    if trace is None or not isinstance(trace.values, AssumedValues):
        return
    for output in outputs:
        if not isinstance(output, Tensor) or output.is_meta:
            continue
        recorder = trace.gpu.recorder
        can_lose = recorder.is_device(output) and not output._is_view()
        if not can_lose or not without_values(recorder, output):
            trace.values.leave_open(
                f"{user_place(sys._getframe(1))}: a compiled operation writes what depends on "
                "features into a part of a tensor, which goes on as it was"
            )


_MOST_ANSWERS = 48
_answers: dict[tuple[object, ...], Array] = {}


def remembered(answer: Callable[..., Array], inputs: tuple[Array, ...], *settings: Any) -> Array:
    """`answer(*inputs, *settings)`, computed once: every step of a trace asks for the same ones.

    The last answers are kept; nobody may write into them.
    """
    digests = tuple(blake2b(np.ascontiguousarray(a).data, digest_size=16).digest() for a in inputs)
    question = (answer, digests, tuple(a.shape for a in inputs), settings)
    known: Array | None = _answers.pop(question, None)
    if known is None:
        known = answer(*inputs, *settings)
    _answers[question] = known
    if len(_answers) > _MOST_ANSWERS:
        del _answers[next(iter(_answers))]
    return known


def array(tensor: Tensor) -> Array:
    """Return a tensor's memory."""
    values: Array = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    return values


def samples(*counts: Array) -> Iterator[tuple[slice, ...]]:
    """For rows of all samples one after another: each sample's rows, by their counts."""
    ends = [np.cumsum(count) for count in counts]
    for sample in range(len(counts[0])):
        yield tuple(
            slice(int(end[sample]) - int(count[sample]), int(end[sample]))
            for end, count in zip(ends, counts, strict=True)
        )


def ranks(groups: Array) -> Ints:
    """How many earlier entries have the same value, for values in order: [N]."""
    position = np.arange(len(groups))
    opens = np.ones(len(groups), dtype=bool)
    np.not_equal(groups[1:], groups[:-1], out=opens[1:])
    rank: Ints = position - np.maximum.accumulate(np.where(opens, position, 0))
    return rank


def chunks(total: int, each: int, limit: int) -> Iterator[slice]:
    """Slices of `total` rows of `each` elements, of at most `limit` elements (or one row)."""
    step = max(limit // max(each, 1), 1)
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))
