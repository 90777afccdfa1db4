"""Distinct rows along an axis, and runs of equal values: `unique(dim=)`, `unique_consecutive`.

Source: aten/src/ATen/native/cuda/Unique.cu (thrust on an index range; `_unique2` is in sorting.py).
"""

from typing import TYPE_CHECKING, Any

import torch

from bevdiag.trace.data_dependence import data_dependent
from bevdiag.trace.sorting import release_all

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder

aten = torch.ops.aten
_INT64_BYTES = 8


def distinct(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Find the distinct rows, where each row went, how often each occurs; the last two if asked."""
    source = args[0]
    given = _given(func, args, kwargs)
    dim = given.get("dim")
    if not recorder.is_device(source):
        made = recorder.run(func, args, kwargs)
        _answer(recorder, made, dim)
        return made
    rows = source.numel() if dim is None else source.shape[dim]
    outputs = _outputs(recorder, func, args, kwargs, given)
    op = str(func)
    is_sorted = func is aten.unique_dim.default
    held = [recorder.temporary(rows * _INT64_BYTES, op)] if dim is not None else []
    if dim is None:
        # A copy of the input becomes the output, and is only shortened.
        recorder.track(outputs[0], op, nbytes=rows * source.element_size())
    if is_sorted:
        recorder.release(recorder.temporary(rows * _INT64_BYTES, op))
    if given["return_inverse"]:
        held.append(recorder.temporary(rows * _INT64_BYTES, op))
        recorder.track(outputs[1], op)
    if given["return_counts"]:
        held.append(recorder.temporary((rows + 1) * _INT64_BYTES, op))
        recorder.track(outputs[2], op)
    recorder.track(outputs[0], op)
    release_all(recorder, held)
    return outputs


def _given(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the operation's arguments by name, defaults too."""
    found = {}
    for position, argument in enumerate(func._schema.arguments):
        value = args[position] if position < len(args) else kwargs.get(argument.name)
        found[argument.name] = argument.default_value if value is None else value
    return found


def _outputs(
    recorder: "Recorder",
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: dict[str, Any],
) -> tuple[torch.Tensor, ...]:
    source, dim = args[0], given.get("dim")
    if not source.is_meta:
        outputs: tuple[torch.Tensor, ...] = func(*args, **kwargs)
        _answer(recorder, outputs, dim)
        return outputs
    supplier = recorder.supplier
    if supplier is None:
        raise data_dependent(recorder, func)
    rows = source.numel() if dim is None else source.shape[dim]
    count = supplier.distinct(rows, supplier.question("distinct"))
    shape = [count] if dim is None else list(source.shape)
    if dim is not None:
        shape[dim] = count
    wide = list(source.shape) if dim is None else [rows]
    inverse = wide if given["return_inverse"] else [0]
    counts = [count] if given["return_counts"] else [0]
    indices = (torch.empty(s, dtype=torch.int64, device="meta") for s in (inverse, counts))
    return (source.new_empty(shape), *indices)


def _answer(recorder: "Recorder", outputs: tuple[torch.Tensor, ...], dim: int | None) -> None:
    recorder.asked("distinct", torch.tensor(outputs[0].shape[dim or 0]))


DISTINCT = (
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.unique_dim_consecutive.default,
)
