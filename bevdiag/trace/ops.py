"""Operations whose allocations on a GPU differ from what the dispatch of meta tensors shows.

Three kinds: operations that autograd runs in place in an unwatched process but out of place while
a dispatch mode is on; operations that allocate inside themselves (workspaces, sort buffers); and
the places where the values of a meta tensor would be needed.

Sources: aten/src/ATen/native/cuda/{Sort,Unique,Indexing,SortStable}.cu*, native/Convolution.cpp,
torch/csrc/autograd/{input_buffer,FunctionsManual}.cpp.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from bevdiag.errors import NoVerdictError
from bevdiag.memory.events import Phase
from bevdiag.models import sized_ops  # noqa: F401  # registers the operators named below
from bevdiag.trace import convolution
from bevdiag.trace.ownership import is_sole_owner

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder

aten = torch.ops.aten
Rule = Callable[["Recorder", Any, tuple[Any, ...], dict[str, Any]], Any]

_INT64_BYTES = 8


class DataDependenceError(NoVerdictError):
    """A shape, a branch or an index depends on values that no one has computed."""


# -- in place or not -----------------------------------------------------------------------------


# Between the engine and a rule stand only these files' frames.
_PASS_THROUGH = (
    str(Path(__file__).parent),
    str(Path(torch.__file__).parent / "_compile.py"),
    str(Path(torch.__file__).parent / "_dynamo"),
    str(Path(torch.__file__).parent / "utils" / "_python_dispatch.py"),
)


def _called_by_engine() -> bool:
    """Whether autograd's engine itself, and no Python function of a node, asks for the operation."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PASS_THROUGH):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_engine_run_backward"


def _accumulate(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    # The engine sums gradients at a fan-out. Unwatched it adds into the buffer that it alone owns;
    # watched, it treats every tensor as a subclass and adds out of place (input_buffer.cpp).
    buffer, addend = args[:2]
    if (
        recorder.phase is Phase.BACKWARD
        and not torch.is_grad_enabled()
        and isinstance(addend, torch.Tensor)
        and buffer.shape == addend.shape
        and buffer.dtype == addend.dtype
        and _called_by_engine()
        and is_sole_owner(buffer)
    ):
        return buffer
    return recorder.run(func, args, kwargs)


def _scatter_into_zeros(
    recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any
) -> Any:
    # Backward formulas (index, gather, max) write into zeros that they have just made: in place in
    # an unwatched run, out of place for anything "subclass-like" (FunctionsManual.cpp).
    target = args[0]
    fresh = recorder.block_of(target) == recorder.last_block
    if not (recorder.phase is Phase.BACKWARD and fresh and _called_by_engine()):
        return recorder.run(func, args, kwargs)
    if func is aten.index_put.default:
        _sorted_index_buffers(recorder, args)
    return target


# -- temporaries inside operations ----------------------------------------------------------------


def _radix_sort_buffers(recorder: "Recorder", count: int, key_bytes: int, op: str) -> list[int]:
    """cub's radix sort of (key, int64 index) pairs: the index range and alternate key/value buffers."""
    return [
        recorder.temporary(count * _INT64_BYTES, op),
        recorder.temporary(count * (key_bytes + _INT64_BYTES), op),
    ]


def _release(recorder: "Recorder", blocks: list[int]) -> None:
    for block in reversed(blocks):
        recorder.release(block)


def _sort(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    source = args[0]
    values = _ranked(recorder, func, args, kwargs)
    if recorder.is_device(source) and source.numel() > 1:
        op = str(func)
        _release(recorder, _radix_sort_buffers(recorder, source.numel(), source.element_size(), op))
    return values


def _ranked(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Values and indices of a sort or topk; unknown values leave any order as good as another."""
    source, unknown = args[0], recorder.unknown
    if unknown is None or not source.is_meta or not source.dim():
        return recorder.run(func, args, kwargs)
    outputs = func(*args, **kwargs)
    dim = _sorted_dim(func, args, kwargs) % source.dim()
    order = unknown.order(tuple(source.shape), dim, outputs[1].shape[dim])
    recorder.record_outputs((outputs[0], order), str(func), [source], {})
    return outputs[0], order


def _sorted_dim(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    names = [argument.name for argument in func._schema.arguments]
    position = names.index("dim")
    dim: int = args[position] if len(args) > position else kwargs.get("dim", -1)
    return dim


def _unique(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    source = args[0]
    if source.is_meta and func is aten._unique2.default:
        return _unknown_unique(recorder, func, args, kwargs)
    if not recorder.is_device(source):
        return recorder.run(func, args, kwargs)
    op, count = str(func), source.numel()
    outputs = func(*args, **kwargs)
    key_bytes = source.element_size()
    held = [
        recorder.temporary(count * key_bytes, op),
        recorder.temporary(count * _INT64_BYTES, op),
    ]
    _release(recorder, _radix_sort_buffers(recorder, count, key_bytes, op))
    for tensor in outputs[1:]:
        recorder.track(tensor, op)
    # The result is made as long as the input and only then shortened: its storage stays long.
    recorder.track(outputs[0], op, nbytes=count * key_bytes)
    _release(recorder, held)
    return outputs


def _unknown_unique(
    recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    source, unknown = args[0], recorder.unknown
    if unknown is None:
        raise _data_dependent(recorder, func)
    size = unknown.distinct(source.numel())
    sized = torch.ops.bevdiag.unique2.default
    values, inverse = _unique(recorder, sized, (source, size), {})
    counts = torch.empty(size, dtype=torch.int64, device="meta")
    recorder.track(counts, str(func))
    return values, inverse, counts


def _sorted_index_buffers(recorder: "Recorder", args: tuple[Any, ...]) -> None:
    # index_put_with_sort_kernel: the linear index, its sorted copy, the permutation, and the sort.
    indices = [index for index in args[1] if index is not None]
    count = max((_index_count(index) for index in indices), default=0)
    held = [recorder.temporary(count * _INT64_BYTES, "aten.index_put_") for _ in range(3)]
    held += _radix_sort_buffers(recorder, count, _INT64_BYTES, "aten.index_put_")
    _release(recorder, held)


def _index_count(index: torch.Tensor) -> int:
    return int(index.count_nonzero()) if index.dtype is torch.bool else index.numel()


def _index(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Indexing with integer or boolean tensors; a boolean mask is turned into indices first."""
    source, indices, rest = args[0], list(args[1]), args[2:]
    masks = []
    for position, index in enumerate(indices):
        if index is None or index.dtype is not torch.bool:
            continue
        on_device = recorder.is_device(index)
        if index.is_meta:
            index = indices[position] = _known_mask(recorder, func, index)
        if on_device:
            size = _index_count(index) * index.dim() * _INT64_BYTES
            masks.append(recorder.temporary(size, "aten.nonzero"))
        if source.is_meta and index.dim() == 1:
            indices[position] = index.nonzero().squeeze(1)
    if not source.is_meta and any(i is not None and i.is_meta for i in indices):
        source, indices = _unknown_rows(recorder, func, source, indices)
    values = tuple(_like(value, source) for value in rest)
    outputs = func(source, indices, *values, **kwargs)
    inputs = [source, *(i for i in indices if i is not None)]
    recorder.record_outputs(outputs, str(func), inputs, {})
    if func in _INDEX_PUTS and len(rest) > 1 and rest[1]:
        _sorted_index_buffers(recorder, args)
    _release(recorder, masks)
    return outputs


def _known_mask(recorder: "Recorder", func: Any, mask: torch.Tensor) -> torch.Tensor:
    if recorder.unknown is None:
        raise _data_dependent(recorder, func)
    return recorder.unknown.mask(mask)


def _unknown_rows(
    recorder: "Recorder", func: Any, source: torch.Tensor, indices: list[Any]
) -> tuple[torch.Tensor, list[Any]]:
    """Coordinates keep their values under an unknown index: some rows or others."""
    if recorder.unknown is None or func is not aten.index.Tensor:
        raise _data_dependent(recorder, func)
    if source.is_floating_point():
        return torch.empty_like(source, device="meta"), indices
    known = [
        recorder.unknown.rows(index, source.shape[axis])
        if index is not None and index.is_meta
        else index
        for axis, index in enumerate(indices)
    ]
    return source, known


def _negate(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    result = recorder.run(func, args, kwargs)
    if recorder.unknown is not None and args[0].is_meta and args[0].dtype is torch.bool:
        recorder.unknown.negated(args[0], result)
    return result


def _masked_select(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    source, mask = torch.broadcast_tensors(*args[:2])
    return _index(recorder, aten.index.Tensor, (source, [mask]), {})


def _like(value: Any, source: torch.Tensor) -> Any:
    if isinstance(value, torch.Tensor) and source.is_meta and not value.is_meta:
        return torch.empty_like(value, device="meta")
    return value


def _nonzero(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    mask = args[0]
    if not mask.is_meta:
        return recorder.run(func, args, kwargs)
    outputs = func(_known_mask(recorder, func, mask))
    recorder.record_outputs(outputs, str(func), [mask], kwargs)
    return outputs


# -- values that are not there ----------------------------------------------------------------------


def _item(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    source = args[0]
    if not source.is_meta:
        return func(*args, **kwargs)
    where = recorder.attribution.current_path() or "the detector"
    recorder.notes.append(f"{where}: a scalar was read from features and taken to be 1")
    return source.dtype.is_floating_point and 1.0 or 1


def _data_dependent(recorder: "Recorder", func: Any) -> DataDependenceError:
    where = recorder.attribution.current_path() or "the detector"
    return DataDependenceError(
        f"{where}: the result of {func} depends on feature values, which a run without a GPU does "
        "not compute; the module needs a rule that states the count"
    )


# -- matrix products ----------------------------------------------------------------------------------


def _gemm(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    inputs = [a for a in args if isinstance(a, torch.Tensor)]
    if any(map(recorder.is_device, inputs)) and any(t.is_floating_point() for t in inputs):
        recorder.gemm(str(func))
    return recorder.run(func, args, kwargs)


_INDEX_PUTS = (aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


def _index_put(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    if func is aten.index_put.default and recorder.block_of(args[0]) == recorder.last_block:
        return _scatter_into_zeros(recorder, func, args, kwargs)
    return _index(recorder, func, args, kwargs)


RULES: dict[Any, Rule] = {
    aten.add.Tensor: _accumulate,
    aten.scatter.src: _scatter_into_zeros,
    aten.scatter_add.default: _scatter_into_zeros,
    aten.index_add.default: _scatter_into_zeros,
    aten.index.Tensor: _index,
    **dict.fromkeys(_INDEX_PUTS, _index_put),
    aten.sort.default: _sort,
    aten.sort.stable: _sort,
    aten.topk.default: _ranked,
    aten.bitwise_not.default: _negate,
    aten.logical_not.default: _negate,
    aten.masked_select.default: _masked_select,
    aten._unique2.default: _unique,
    torch.ops.bevdiag.unique2.default: _unique,
    aten.nonzero.default: _nonzero,
    aten._local_scalar_dense.default: _item,
    **dict.fromkeys(
        (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default), _gemm
    ),
    aten.convolution.default: convolution.forward,
    aten.convolution_backward.default: convolution.backward,
}
