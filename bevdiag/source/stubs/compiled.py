"""Operators of the GPU on NumPy arrays, where all that they read and write has values."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from hashlib import blake2b
from inspect import Parameter, signature
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.mixed_values import without_values
from bevdiag.source.state import running
from bevdiag.trace.assumed_values import AssumedValues

Op = Callable[..., Any]
Array = NDArray[Any]
Ints = NDArray[np.int64]


class _ForOutputs:
    """Marks a parameter that an operator writes into."""


Filled = Annotated[Any, _ForOutputs]
"""Memory that the caller allocated and the operator fills, wholly or in part."""


def compiled(compute: Op, *forms: str, otherwise: Op | None = None) -> Op:
    """Make a compiled function of what computes its outputs where every tensor has values.

    NumPy does the work because nothing is recorded there: the kernels allocate nothing that
    PyTorch knows of, and, like them, says nothing of infinities.

    Args:
        compute: gets the arguments that it names, tensors as their memory's arrays, and writes into
            those that the caller allocated, its `Filled` ones; returning None is success, 1.
        forms: the names of the C++ function's parameters in order, as one family of repositories
            or another has them; those of `compute` where there are none.
        otherwise: gets the arguments that it names as they are, where a tensor has no values. What
            it does not fill itself has none from there on: what the wrapper had put there is no
            answer. Without it, a call in no known form may fill any of its tensors.
    """
    own = signature(compute).parameters
    orders = [form.split() for form in forms] or [list(own)]
    needed = {name for name, parameter in own.items() if parameter.default is Parameter.empty}
    lost = _filled_by(compute) - (_filled_by(otherwise) if otherwise else set())

    @wraps(compute)
    def op(*args: Any, **named: Any) -> Any:
        count = len(args) + len(named)
        readings = [dict(zip(order, args, strict=False)) | named for order in orders]
        given = next((g for g in readings if len(g) == count and needed <= g.keys()), None)
        tensors = [arg for arg in (*args, *named.values()) if isinstance(arg, Tensor)]
        is_meta = any(tensor.is_meta for tensor in tensors)
        if given is None and is_meta and otherwise is None:
            lose_values(tensors)
            return 1
        if given is None:
            raise stopped(
                f"{compute.__name__} is called with {count} arguments; bevdiag knows it with "
                f"{' or '.join(str(len(order)) for order in orders)}",
                Remedy.KERNEL,
            )
        if is_meta:
            result = 1 if otherwise is None else _called(otherwise, given)
            lose_values(given[name] for name in own if name in lost & given.keys())
            return result
        with np.errstate(all="ignore"):
            result = _called(compute, {name: _values(v) for name, v in given.items()})
        return 1 if result is None else result

    return op


def _called(function: Op, given: dict[str, Any]) -> Any:
    return function(**{name: given[name] for name in signature(function).parameters & given.keys()})


def _values(value: Any) -> Any:
    return array(value) if isinstance(value, Tensor) else value


def _filled_by(function: Op) -> set[str]:
    return {
        name
        for name, parameter in signature(function).parameters.items()
        if _ForOutputs in getattr(parameter.annotation, "__metadata__", ())
    }


def lose_values(outputs: Iterable[Any]) -> None:
    """Take the values from tensors that an operator has filled with what nobody knows."""
    trace = running()
    if trace is None or not isinstance(trace.values, AssumedValues):
        return
    for output in outputs:
        if isinstance(output, Tensor) and not output.is_meta:
            without_values(trace.recorder, output)


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
