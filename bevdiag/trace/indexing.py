"""Indexing with integers and masks.

Source: aten/src/ATen/native/TensorAdvancedIndexing.cpp.
"""

from typing import Any

import torch

from bevdiag.trace.accumulation import scatter_into_zeros
from bevdiag.trace.operands import given_arguments
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.sorting import index_count, index_put_buffers, summed
from bevdiag.trace.unknown_values import Question, data_dependent

aten = torch.ops.aten

INDEX_PUTS = (aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)
_INT64_BYTES = 8


def index_put(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Write through indices: into fresh zeros, as a fill under a mask, or in general."""
    questions = _questions(recorder, args[1])
    if func is aten.index_put.default and recorder.block_of(args[0]) == recorder.last_block:
        return scatter_into_zeros(recorder, func, args, kwargs)
    if _is_masked_fill(recorder, *args):
        filled = args[0]
        if func is aten.index_put.default:
            filled = torch.empty_like(filled)
        recorder.record_outputs(filled, str(func), [args[0]], {})
        return filled
    return _indexed(recorder, func, args, kwargs, questions)


def _is_masked_fill(
    recorder: Recorder,
    target: torch.Tensor,
    indices: list[torch.Tensor | None],
    value: torch.Tensor,
    accumulates: bool = False,
) -> bool:
    """Whether a number of the host goes where one mask is true: that takes no index."""
    masks = [index for index in indices if index is not None]
    return (
        target.is_meta
        and len(masks) == 1
        and masks[0].dtype is torch.bool
        and recorder.is_device(masks[0])
        and value.numel() == 1
        and recorder.block_of(value) is None
        and not accumulates
    )


def indexed(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Indexing with integer or boolean tensors; a boolean mask is turned into indices first."""
    return _indexed(recorder, func, args, kwargs, _questions(recorder, args[1]))


def _questions(recorder: Recorder, indices: Any) -> list[Question | None]:
    return [
        None
        if index is None
        else recorder.asked("mask" if index.dtype is torch.bool else "rows", index)
        for index in indices
    ]


def _indexed(
    recorder: Recorder,
    func: Any,
    args: tuple[Any, ...],
    kwargs: Any,
    questions: list[Question | None],
) -> Any:
    source, indices, rest = args[0], list(args[1]), args[2:]
    masks = []
    for position, (index, question) in enumerate(zip(args[1], questions, strict=True)):
        if question is None or index.dtype is not torch.bool:
            continue
        on_device = recorder.is_device(index)
        index = indices[position] = recorder.known_mask(index, question)
        if on_device:
            size = index_count(index) * index.dim() * _INT64_BYTES
            masks.append(recorder.temporary(size, "aten.nonzero"))
        if source.is_meta and index.dim() == 1:
            indices[position] = index.nonzero().squeeze(1)
    if not source.is_meta and any(i is not None and i.is_meta for i in indices):
        source, indices = _unknown_rows(recorder, func, source, indices, questions)
    values = tuple(_like(value, source) for value in rest)
    outputs = func(source, indices, *values, **kwargs)
    inputs = [source, *(i for i in indices if i is not None)]
    recorder.record_outputs(outputs, str(func), inputs, {})
    if func in INDEX_PUTS and len(rest) > 1 and rest[1]:
        index_put_buffers(recorder, indices, rest[0])
    recorder.release(*masks)
    return outputs


def _unknown_rows(
    recorder: Recorder,
    func: Any,
    source: torch.Tensor,
    indices: list[Any],
    questions: list[Question | None],
) -> tuple[torch.Tensor, list[Any]]:
    """Coordinates keep their values under an unknown index: some rows or others."""
    if func is not aten.index.Tensor:
        raise data_dependent(recorder.attribution.current_path(), str(func))
    if source.is_floating_point():
        return torch.empty_like(source, device="meta"), indices
    known = [
        recorder.values.rows(index, source.shape[axis], question)
        if question is not None and index.is_meta
        else index
        for axis, (index, question) in enumerate(zip(indices, questions, strict=True))
    ]
    return source, known


def _like(value: Any, source: torch.Tensor) -> Any:
    if isinstance(value, torch.Tensor) and source.is_meta and not value.is_meta:
        return torch.empty_like(value, device="meta")
    return value


def negate(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Negate a mask, and say so to the supplier of values."""
    result = recorder.run(func, args, kwargs)
    if args[0].is_meta and args[0].dtype is torch.bool:
        recorder.values.negated(args[0], result)
    return result


def masked_select(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Indexing by the broadcast mask."""
    source, mask = torch.broadcast_tensors(*args[:2])  # type: ignore[no-untyped-call]
    return indexed(recorder, aten.index.Tensor, (source, [mask]), {})


def nonzero(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Return the indices of a mask."""
    mask = args[0]
    question = recorder.asked("nonzero", mask)
    if not mask.is_meta:
        return recorder.run(func, args, kwargs)
    outputs = func(recorder.known_mask(mask, question))
    recorder.record_outputs(outputs, str(func), [mask], kwargs)
    return outputs


def repeat_interleave(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Return the index that repeats each row; its length is a sum of counts (Repeat.cpp)."""
    repeats, supplier = args[0], recorder.values
    length = given_arguments(func, args, kwargs)["output_size"]
    ends = summed(recorder, aten.cumsum.default, (repeats, 0), {})
    if length is None and not repeats.is_meta:
        recorder.asked("number", repeats.sum())
    elif length is None:
        total = torch.empty((), dtype=torch.int64, device="meta")
        supplier.note(aten.sum.default, (repeats,), total)
        # A mask that the code writes as many rows under is taken to keep one at least.
        length = supplier.size(total, supplier.question("number"), lowest=1)
    result = repeats.new_empty(length) if repeats.is_meta else func(*args, **kwargs)
    recorder.record_outputs(result, str(func), [repeats], {})
    del ends
    return result


def concatenated(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Remembers the parts that have values where others have none."""
    made = recorder.run(func, args, kwargs)
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    if made.is_meta and dim % made.dim() == made.dim() - 1 and made.is_contiguous():
        recorder.columns.joined(args[0], made)
    return made


def picked(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Return a view: with its values where they are known and no gradient has to pass."""
    view = recorder.run(func, args, kwargs)
    if not view.is_meta or args[0].requires_grad:
        return view
    known = recorder.columns.of(view)
    if known is None:
        return view
    recorder.share(view, known)
    return known
