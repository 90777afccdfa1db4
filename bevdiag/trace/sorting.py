"""Sorts and sums, and what does either inside itself: results, and buffers that no dispatch shows.

Where the axes that stay in a sum lie innermost in memory (a bias's gradient over the rows of a
batch, a channels-last map's mean), many thread blocks share each output and leave their sums in a
buffer. Sources: aten/src/ATen/native/cuda/{Sort,Unique,Indexing,SortStable,Embedding*}.cu*,
Reduce.cuh, layer_norm_kernel.cu, ReduceOpsUtils.h.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from bevdiag.memory.events import Category
from bevdiag.memory.requests import StridedReduction
from bevdiag.models import sized_ops  # noqa: F401  # registers the operator named below
from bevdiag.trace.operands import given_arguments
from bevdiag.trace.recorder import Recorder

aten = torch.ops.aten

_INT64_BYTES = 8
_FEW_INDICES = 3072
"""Up to so many, an embedding's gradient is summed without sorting (Embedding.cu)."""
_INDICES_OF_SEGMENT = 10
_SUM_BYTES = 4
"""Sums of float32, float16 and bfloat16 are kept in float32."""


def _radix_sort_buffers(recorder: Recorder, count: int, key_bytes: int, op: str) -> list[int]:
    """Allocate the index range and alternate buffers of cub's radix sort of (key, int64) pairs."""
    return [
        recorder.temporary(count * _INT64_BYTES, op),
        recorder.temporary(count * (key_bytes + _INT64_BYTES), op),
    ]


def sort(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Sort along one axis, as one radix sort of everything."""
    source = args[0]
    values = ranked(recorder, func, args, kwargs)
    if recorder.is_device(source) and source.numel() > 1:
        op = str(func)
        recorder.release(*_radix_sort_buffers(recorder, source.numel(), source.element_size(), op))
    return values


def ranked(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Values and indices of a sort or topk; unknown values leave any order as good as another."""
    source = args[0]
    if not source.dim():
        return recorder.run(func, args, kwargs)
    if not source.is_meta:
        found = recorder.run(func, args, kwargs)
        recorder.asked("order", found[1])
        return found
    question = recorder.values.question("order")
    outputs = func(*args, **kwargs)
    dim = given_arguments(func, args, kwargs)["dim"] % source.dim()
    order = recorder.values.order(tuple(source.shape), dim, outputs[1].shape[dim], question)
    order = outputs[1] if order is None else order
    recorder.record_outputs((outputs[0], order), str(func), [source], {})
    return outputs[0], order


def unique(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Distinct values by sorting; as many as the operation or the supplier says, if on meta."""
    source = args[0]
    if source.is_meta and func is aten._unique2.default:
        return _unknown_unique(recorder, func, args, kwargs)
    on_device = recorder.is_device(source)
    outputs = func(*args, **kwargs) if on_device else recorder.run(func, args, kwargs)
    if func is aten._unique2.default:
        _answer_distinct(recorder, outputs)
    if not on_device:
        return outputs
    op, count = str(func), source.numel()
    key_bytes = source.element_size()
    held = [
        recorder.temporary(count * key_bytes, op),
        recorder.temporary(count * _INT64_BYTES, op),
    ]
    recorder.release(*_radix_sort_buffers(recorder, count, key_bytes, op))
    for tensor in outputs[1:]:
        recorder.track(tensor, op)
    # The result is made as long as the input and only then shortened: its storage stays long.
    recorder.track(outputs[0], op, nbytes=count * key_bytes)
    recorder.release(*held)
    return outputs


def _answer_distinct(recorder: Recorder, outputs: Any, dim: int | None = None) -> None:
    recorder.asked("distinct", torch.tensor(outputs[0].shape[dim or 0]))


def _unknown_unique(
    recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    source, supplier = args[0], recorder.values
    size = supplier.distinct(source.numel(), supplier.question("distinct"), source)
    sized = torch.ops.bevdiag.unique2.default
    values, inverse = unique(recorder, sized, (source, size), {})
    counts = torch.empty(size, dtype=torch.int64, device="meta")
    recorder.track(counts, str(func))
    every = supplier.every(source, size)
    if every is not None:
        recorder.share(values, every)
        values = every
    return values, inverse, counts


def distinct(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Find the distinct rows, where each row went, how often each occurs; the last two if asked."""
    source = args[0]
    given = given_arguments(func, args, kwargs)
    dim = given.get("dim")
    if not recorder.is_device(source):
        made = recorder.run(func, args, kwargs)
        _answer_distinct(recorder, made, dim)
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
        recorder.scratch(rows * _INT64_BYTES, op)
    if given["return_inverse"]:
        held.append(recorder.temporary(rows * _INT64_BYTES, op))
        recorder.track(outputs[1], op)
    if given["return_counts"]:
        held.append(recorder.temporary((rows + 1) * _INT64_BYTES, op))
        recorder.track(outputs[2], op)
    recorder.track(outputs[0], op)
    recorder.release(*held)
    return outputs


def _outputs(
    recorder: Recorder,
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: dict[str, Any],
) -> tuple[torch.Tensor, ...]:
    source, dim = args[0], given.get("dim")
    if not source.is_meta:
        outputs: tuple[torch.Tensor, ...] = func(*args, **kwargs)
        _answer_distinct(recorder, outputs, dim)
        return outputs
    rows = source.numel() if dim is None else source.shape[dim]
    count = recorder.values.distinct(rows, recorder.values.question("distinct"))
    shape = [count] if dim is None else list(source.shape)
    if dim is not None:
        shape[dim] = count
    wide = list(source.shape) if dim is None else [rows]
    inverse = wide if given["return_inverse"] else [0]
    counts = [count] if given["return_counts"] else [0]
    indices = (torch.empty(s, dtype=torch.int64, device="meta") for s in (inverse, counts))
    return (source.new_empty(shape), *indices)


DISTINCT = (
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.unique_dim_consecutive.default,
)


def index_put_buffers(
    recorder: Recorder, indices: Sequence[torch.Tensor | None], values: torch.Tensor
) -> None:
    """Record the index_put_with_sort kernel's dense values, linear index, sorted copy and sort."""
    copied = [] if values.is_contiguous() else [values.numel() * values.element_size()]
    copies = [recorder.temporary(nbytes, "aten.contiguous") for nbytes in copied]
    count = max((_places(recorder, index) for index in indices if index is not None), default=0)
    held = [recorder.temporary(count * _INT64_BYTES, "aten.index_put_") for _ in range(3)]
    held += _radix_sort_buffers(recorder, count, _INT64_BYTES, "aten.index_put_")
    recorder.release(*copies, *held)


def _places(recorder: Recorder, index: torch.Tensor) -> int:
    if index.is_meta and index.dtype is torch.bool:
        index = recorder.known_mask(index, recorder.asked("mask", index))
    return index_count(index)


def index_count(index: torch.Tensor) -> int:
    """How many places an index or a mask names."""
    return int(index.count_nonzero()) if index.dtype is torch.bool else index.numel()


def embedding_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Make a dense gradient of a table's rows: many indices are sorted and summed in segments."""
    grad, indices = args[:2]
    count = indices.numel()
    if not recorder.is_device(grad) or count <= _FEW_INDICES:
        return recorder.run(func, args, kwargs)
    op = str(func)
    held = [recorder.temporary(count * _INT64_BYTES, op) for _ in range(2)]
    recorder.release(*_radix_sort_buffers(recorder, count, _INT64_BYTES, op))
    result = recorder.run(func, args, kwargs)
    segments = count + count // _INDICES_OF_SEGMENT
    held += [recorder.temporary(segments * _INT64_BYTES, op)]
    held += [recorder.temporary(segments * grad.shape[-1] * _SUM_BYTES, op)]
    recorder.release(*held)
    return result


def summed(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Run a sum or a mean along axes.

    Masks and narrow integers are copied to the type in which they are summed, after the result is
    made (make_reduction in ReduceOpsUtils.h, impl_func_cum_ops in ReduceOps.cpp).
    """
    result = recorder.run(func, args, kwargs)
    data = args[0]
    if not recorder.is_device(data):
        return result
    if not data.is_floating_point():
        if data.dtype != result.dtype:
            recorder.scratch(data.numel() * result.element_size(), str(func))
    elif len(args) > 1 and isinstance(args[1], (list, tuple)):
        sum_over(recorder, data, args[1], str(func))
    return result


def sum_over(recorder: Recorder, data: torch.Tensor, axes: Sequence[int], op: str) -> None:
    """Record the buffer of a sum along some axes, after its result."""
    along = {axis % data.dim() for axis in axes or range(data.dim())}
    sizes = [(data.shape[axis], data.stride(axis), axis in along) for axis in range(data.dim())]
    summed_strides = [stride for size, stride, is_summed in sizes if is_summed and size > 1]
    kept_strides = [stride for size, stride, is_summed in sizes if not is_summed and size > 1]
    # Of an expanded tensor nothing lies side by side.
    if not summed_strides or not kept_strides or min(summed_strides) <= max(kept_strides):
        return
    outputs = prod(size for size, _, is_summed in sizes if not is_summed)
    call = StridedReduction(outputs, data.numel() // max(outputs, 1), _SUM_BYTES)
    recorder.scratch(0, op, Category.WORKSPACE, call)


def layer_norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Forward and backward copy what is not dense for the length of the call."""
    copies = [
        block
        for tensor in args[:2]
        if isinstance(tensor, torch.Tensor) and recorder.is_device(tensor)
        for block in recorder.dense_copy(tensor)
    ]
    outputs = recorder.run(func, args, kwargs)
    recorder.release(*copies)
    return outputs
