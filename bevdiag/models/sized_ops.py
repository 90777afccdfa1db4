"""Tensors without values: how modules run on meta tensors where values or counts are needed.

On meta, features have shapes only. Coordinates keep their values, but most of what is computed
from them decides no shape; that part runs on stubs, and the few counts that do decide shapes
are computed from the coordinates on the host and handed to the sized operations below.

Each of these takes the size beside the values; None will do where the values can tell. On real
tensors it is PyTorch's own operation; on meta tensors it is an operator of the namespace `bevdiag`,
so that whoever watches the dispatch sees it under its name and with its operands, and can account
for what the real one allocates inside.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def without_values(tensor: Tensor) -> Tensor:
    """Make a meta tensor of the same shape and type; its elements share one and take no memory."""
    return torch.empty((), dtype=tensor.dtype, device="meta").expand(tensor.shape)


def to_device(array: NDArray[Any], device: torch.device, *, keep_values: bool = False) -> Tensor:
    """Copy a host array to the device: one allocation, as by `tensor.to(device)`.

    On meta the copy has no values, unless `keep_values` asks for them: masks and coordinates that
    decide shapes are then real tensors of the CPU that stand for the device's.
    """
    source = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "meta":
        return torch.empty(source.shape, dtype=source.dtype, device=device).copy_(source)
    if not keep_values:
        return torch.empty(source.shape, dtype=source.dtype, device=device)
    copy = torch.empty(source.shape, dtype=source.dtype, device="cpu")
    copy.numpy()[...] = array
    return copy


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
