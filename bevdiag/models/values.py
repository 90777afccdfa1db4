"""Tensors without values: how modules run on meta tensors where values or counts are needed.

On meta, features have shapes only. Coordinates keep their values, but most of what is computed
from them decides no shape; that part runs on stubs, and the few counts that do decide shapes
are computed from the coordinates on the host and handed to the sized operations below.
"""

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
