"""torch_scatter on PyTorch's own operations, reductions along the first axis.

Sums and means go through index_add_, maxima and minima through scatter_reduce.
"""

import torch
from torch import Tensor

from bevdiag.source.state import running


def _valueless(src: Tensor) -> Tensor:
    """Features lose their values where a trace is running."""
    trace = running()
    return trace.lanes.valueless(src) if trace and src.is_floating_point() else src


def _size(index: Tensor, dim_size: int | None) -> int:
    if dim_size is not None:
        return dim_size
    return int(index.max()) + 1 if index.numel() else 0


def _check(dim: int, src: Tensor) -> None:
    if dim % src.dim():
        raise NotImplementedError(f"torch_scatter along dim={dim}; only the first axis is done")


def scatter_sum(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Sum of the rows of each index: [N, ...] and [N] to [M, ...]."""
    _check(dim, src)
    src = _valueless(src)
    flat = index if index.dim() == 1 else index.reshape(len(index), -1)[:, 0]
    if out is None:
        out = src.new_zeros((_size(flat, dim_size), *src.shape[1:]))
    return out.index_add_(0, flat, src)


def scatter_mean(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Mean of the rows of each index: [N, ...] and [N] to [M, ...]."""
    total = scatter_sum(src, index, dim, out, dim_size)
    flat = index if index.dim() == 1 else index.reshape(len(index), -1)[:, 0]
    ones = total.new_ones(len(flat))
    count = total.new_zeros(len(total)).index_add_(0, flat, ones)
    count = count.clamp(min=1).view(-1, *[1] * (total.dim() - 1))
    return total / count


def _extreme(
    how: str, src: Tensor, index: Tensor, dim: int, dim_size: int | None
) -> tuple[Tensor, Tensor]:
    _check(dim, src)
    src = _valueless(src)
    flat = index if index.dim() == 1 else index.reshape(len(index), -1)[:, 0]
    size = _size(flat, dim_size)
    wide = flat.view(-1, *[1] * (src.dim() - 1)).expand_as(src)
    out = src.new_zeros((size, *src.shape[1:]))
    values = out.scatter_reduce(0, wide, src, how, include_self=False)
    return values, torch.empty_like(values, dtype=torch.int64)


def scatter_max(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Maximum of the rows of each index, and which row it is (without values)."""
    return _extreme("amax", src, index, dim, dim_size)


def scatter_min(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Minimum of the rows of each index, and which row it is (without values)."""
    return _extreme("amin", src, index, dim, dim_size)


def scatter(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """The reduction called sum (or add), mean, max or min."""
    if reduce in ("max", "min"):
        return _extreme(f"a{reduce}", src, index, dim, dim_size)[0]
    return (scatter_mean if reduce == "mean" else scatter_sum)(src, index, dim, out, dim_size)


scatter_add = scatter_sum
