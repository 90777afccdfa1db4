"""PyTorch operations whose result size depends on values, for meta tensors whose count is known.

Each takes the size beside the values; None will do where the values can tell. On real tensors it is
PyTorch's own operation; on meta tensors it is an operator of the namespace `bevdiag`, so that
whoever watches the dispatch sees it under its name and with its operands, and can account for what
the real one allocates inside.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _unique2(values: Tensor, size: int) -> tuple[Tensor, Tensor]:
    return values.new_empty(size), torch.empty(values.shape, dtype=torch.int64, device="meta")


def _unique_dim_consecutive(values: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    inverse = torch.empty(values.shape, dtype=torch.int64, device="meta")
    return values.new_empty(size), inverse, torch.empty(size, dtype=torch.int64, device="meta")


def _bincount(values: Tensor, size: int) -> Tensor:
    return torch.empty(size, dtype=torch.int64, device="meta")


def _nonzero(values: Tensor, size: int) -> Tensor:
    return torch.empty((size, values.dim()), dtype=torch.int64, device="meta")


_SCHEMAS: dict[str, tuple[str, Callable[..., Any]]] = {
    "unique2": ("(Tensor values, int size) -> (Tensor, Tensor)", _unique2),
    "unique_dim_consecutive": (
        "(Tensor values, int size) -> (Tensor, Tensor, Tensor)",
        _unique_dim_consecutive,
    ),
    "bincount": ("(Tensor values, int size) -> Tensor", _bincount),
    "nonzero": ("(Tensor values, int size) -> Tensor", _nonzero),
}

for _name, (_schema, _meta) in _SCHEMAS.items():
    torch.library.define(f"bevdiag::{_name}", _schema)
    torch.library.impl(f"bevdiag::{_name}", "Meta", _meta)


def unique_with_inverse(values: Tensor, size: int | None) -> tuple[Tensor, Tensor]:
    """`torch.unique(values, return_inverse=True)` of [N]; `size` is the number of values left."""
    if values.is_meta:
        unique, inverse = torch.ops.bevdiag.unique2(values, size)
    else:
        unique, inverse = torch.unique(values, return_inverse=True)
    return unique, inverse


def unique_consecutive_rows(values: Tensor, size: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.unique_consecutive(values, True, True, dim=0)` of [N]; `size` counts the runs."""
    if values.is_meta:
        unique, inverse, counts = torch.ops.bevdiag.unique_dim_consecutive(values, size)
    else:
        unique, inverse, counts = torch.unique_consecutive(
            values, return_inverse=True, return_counts=True, dim=0
        )
    return unique, inverse, counts


def bincount(values: Tensor, size: int | None) -> Tensor:
    """`torch.bincount(values)` of [N]; `size` is the largest value plus one."""
    if values.is_meta:
        counts: Tensor = torch.ops.bevdiag.bincount(values, size)
        return counts
    return torch.bincount(values)


def nonzero(values: Tensor, size: int | None) -> Tensor:
    """`values.nonzero()`, int64 [size, axes]; `size` is the number of values that are not 0."""
    if values.is_meta:
        rows: Tensor = torch.ops.bevdiag.nonzero(values, size)
        return rows
    return values.nonzero()
