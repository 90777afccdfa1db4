"""Sparse tensors of PyTorch whose rows have no values; their indices may have some.

PyTorch has no operations for sparse tensors of the meta device. What heads do with one is to sum
it over its first axis and to make the result dense: that is followed here with dense operations,
which allocate what aten/src/ATen/native/sparse does.
"""

from typing import Any

import torch
from torch import Tensor

from bevdiag.source.failures import Remedy, stopped


class ValuelessCoo:
    """A sparse tensor of rows.

    Args:
        indices: int64 [K, N].
        values: [N, ...], a meta tensor.
        size: of the whole; where none is given the largest indices say it.
    """

    def __init__(self, indices: Tensor, values: Tensor, size: Any = None) -> None:
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

    def to_dense(self) -> Tensor:
        """Zeros with the rows added where their indices say."""
        shape = self._size
        if shape is None:
            shape = (*(self._indices.max(dim=1).values + 1).tolist(), *self._values.shape[1:])
        dense = self._values.new_zeros(tuple(shape))
        return dense.index_put_(tuple(self._indices), self._values, accumulate=True)


def sparse_coo(indices: Any, values: Any, size: Any = None, *_: Any, **__: Any) -> Any:
    """Answer `torch.sparse_coo_tensor` of rows without values; NotImplemented for any other."""
    known = isinstance(indices, Tensor) and isinstance(values, Tensor)
    if known and values.is_meta:
        return ValuelessCoo(indices, values, size)
    return NotImplemented
