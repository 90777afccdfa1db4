"""Where features (meta) and tensors that have values (CPU) meet: index, write or sparse tensor.

PyTorch moves an index to the indexed tensor's device before anyone sees the operation, which
would cost it its values, and a mask its count. So the index is taken apart here, in the way of
torch/csrc/autograd/python_variable_indexing.cpp, and only the tensors in it reach the dispatcher.
A tensor with values that features are written into has none from there on.

PyTorch has no operations for sparse tensors of the meta device. What heads do with one is to sum
it over its first axis and to make the result dense: that is followed here with dense operations,
which allocate what aten/src/ATen/native/sparse does.
"""

import re
import sys
from typing import Any

import numpy as np
import torch
from torch import nn

from bevdiag.source.failures import Remedy, stopped
from bevdiag.trace.lazy_number import LazyNumber
from bevdiag.trace.operands import tensors_in, unrecorded
from bevdiag.trace.places import user_place
from bevdiag.trace.recorder import Recorder

aten = torch.ops.aten


def _views_whole_axes() -> bool:
    """Whether this PyTorch writes through a view where an axis is taken whole, as 2.5 does."""
    written = torch.zeros(1, 1)
    written[:, torch.tensor([0])] = torch.zeros(1, 1, requires_grad=True)
    return type(written.grad_fn).__name__ == "CopySlices"


_VIEWS_WHOLE_AXES = _views_whole_axes()


def is_mixed(source: torch.Tensor, index: Any) -> bool:
    """Whether features are indexed with values, or the other way round."""
    items = index if isinstance(index, tuple) else (index,)
    found = [item for item in items if isinstance(item, torch.Tensor) and item.dim()]
    return any(item.is_meta is not source.is_meta for item in found)


def mixed_get(source: torch.Tensor, index: Any) -> Any:
    """`source[index]`, where these are mixed."""
    view, indices = _apply_basic(source, index)
    return aten.index.Tensor(view, indices)


def mixed_set(recorder: Recorder, target: torch.Tensor, index: Any, value: Any) -> None:
    """`target[index] = value`, where target and index are mixed."""
    view, indices = _apply_basic(target, index)
    if not isinstance(value, torch.Tensor):
        tensors = [i for i in indices if i is not None]
        if len(tensors) == 1 and tensors[0] is indices[0] and tensors[0].dtype is torch.bool:
            # The number stays on the host, and the kernel fills under the mask.
            with recorder.on_host():
                number = torch.tensor(value, dtype=target.dtype)
            aten.index_put_.default(view, indices, number)
            return
        # A number becomes a tensor of the target's device first.
        value = aten.full.default([], value, dtype=target.dtype, device=torch.device("meta"))
    elif value.dtype is not target.dtype:
        value = value.to(target.dtype)
    aten.index_put_.default(view, indices, value)


def _apply_basic(source: torch.Tensor, index: Any) -> tuple[torch.Tensor, list[Any]]:
    """Apply numbers, slices, None and the ellipsis; what is left are tensors, one an axis."""
    items = list(index) if isinstance(index, tuple) else [index]
    consumed = sum(_axes(item) for item in items)
    view, axis = source, 0
    indices: list[Any] = []
    for item in items:
        if item is None:
            view = view.unsqueeze(axis)
            indices.append(None)
            axis += 1
        elif item is Ellipsis:
            skipped = source.dim() - consumed
            indices += [None] * skipped
            axis += skipped
        elif isinstance(item, slice):
            length = view.shape[axis]
            # All of an axis is no view to newer versions: they write into the tensor.
            if _VIEWS_WHOLE_AXES or item.indices(length) != (0, length, 1):
                view = view[(slice(None),) * axis + (item,)]
            indices.append(None)
            axis += 1
        elif isinstance(item, (int, np.integer)) or (
            isinstance(item, torch.Tensor) and not item.dim() and item.dtype is not torch.bool
        ):
            view = view.select(axis, int(item))
        else:
            tensor = item if isinstance(item, torch.Tensor) else torch.as_tensor(item)
            indices.append(tensor)
            axis += _axes(item)
    return view, indices


def _axes(item: Any) -> int:
    """How many axes of the source an entry takes up."""
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, torch.Tensor) and item.dtype is torch.bool:
        return item.dim()
    return 1


# -- writing -----------------------------------------------------------------------------------

_METHODS = "(?!_).*[^_]_|__i(?!nit|ndex|nt__|nvert|ter).*__|__setitem__"
_FUNCTIONS = "(?!__).*[^_]_"
IN_PLACE = frozenset(
    getattr(home, name)
    for home, names in ((torch.Tensor, _METHODS), (torch, _FUNCTIONS))
    for name in dir(home)
    if re.fullmatch(names, name)
)
"""The methods and functions that write into their first argument."""


def make_writable(recorder: Recorder, target: torch.Tensor, sources: tuple[Any, ...]) -> None:
    """Have `target` lose its values if a source has none: a tensor, or a number from features.

    Raises:
        NoVerdictError: gradients are to pass through memory that others look at.
    """
    given = list(tensors_in(sources, {}))
    is_known = LazyNumber not in map(type, sources) and not any(
        recorder.as_known(tensor).is_meta for tensor in given
    )
    if target.is_meta or is_known or without_values(recorder, target):
        return
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        raise stopped(
            "features are written into a part of a tensor that holds constants, which a run "
            "without a GPU cannot follow",
            Remedy.CONSTANTS,
            user_place(sys._getframe(1)),
        )


def without_values(recorder: Recorder, target: torch.Tensor) -> bool:
    """Take the values from the memory of `target`; whether it is a meta tensor itself from there.

    So is what it is a view of, and gradients pass. Where others hold on to either, it stays, and
    the recorder alone knows that nobody knows its values.
    """
    recorder.lose_values(target)
    base: torch.Tensor | None = target._base
    seen = unrecorded(recorder.as_known, target)
    if base is None or base.dtype is not target.dtype:
        return _swapped(target, seen)
    place = target.size(), target.stride(), target.storage_offset()
    if not _swapped(target, seen):
        return False
    del seen  # it held the view, which held its base
    is_done = _swapped(base, unrecorded(recorder.as_known, base))
    _swapped(target, unrecorded(base.as_strided, *place))
    return is_done


def _swapped(target: torch.Tensor, other: torch.Tensor) -> bool:
    """Exchange what two tensors are; False where others hold on to either."""
    if isinstance(target, nn.Parameter):
        other = nn.Parameter(other, target.requires_grad)
    try:
        unrecorded(torch.utils.swap_tensors, target, other)
    except RuntimeError:
        return False
    return True


# -- sparse tensors --------------------------------------------------------------------------------


class ValuelessCoo:
    """A sparse tensor of rows, of which one or both have no values: where they lie, what they are.

    Args:
        indices: integers [K, N].
        values: [N, ...].
        size: of the whole; where none is given the largest indices say it.
    """

    def __init__(self, indices: torch.Tensor, values: torch.Tensor, size: Any = None) -> None:
        self._indices = indices
        self._values = values
        self._size = size

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch._sparse_sum:
            return cls._sum(*args, **(kwargs or {}))
        name = getattr(func, "__name__", func)
        raise stopped(f"{name} of a sparse tensor without values", Remedy.KERNEL)

    def _sum(self, dim: Any, *_: Any, **__: Any) -> "ValuelessCoo":
        """Sum over one of the axes that indices stand for, and coalesce, as the C++ does."""
        axes = [dim] if isinstance(dim, int) else list(dim)
        kept = [axis for axis in range(len(self._indices)) if axis not in axes]
        if len(axes) != 1 or len(kept) + 1 != len(self._indices):
            raise stopped(
                "a sparse tensor without values is summed over several axes", Remedy.KERNEL
            )
        cells, rows = torch.unique(self._indices[kept], dim=1, return_inverse=True)
        values = self._values.clone()
        summed = values.new_zeros((cells.shape[1], *values.shape[1:]))
        return ValuelessCoo(cells, summed.index_add_(0, rows, values))

    def to_dense(self) -> torch.Tensor:
        """Zeros with the rows added where their indices say."""
        shape = self._size
        if shape is None:
            shape = (*(self._indices.max(dim=1).values + 1).tolist(), *self._values.shape[1:])
        dense: torch.Tensor = aten.zeros.default(
            list(shape), dtype=self._values.dtype, device=torch.device("meta")
        )
        return dense.index_put_(tuple(self._indices), self._values, accumulate=True)
