"""torch_scatter's kernels: what each makes, saves and makes again in its backward pass.

Sums are PyTorch's own scatter_add_, as in torch_scatter. The others are its CUDA kernels: an
output, for extremes an index tensor of the same shape, and in the backward pass a gradient of the
source's shape. Where there are values they are computed, along any axis.

Built-in modules and the stub of the package share them. `replaced` puts PyTorch's operations in
their place, with which some steps were measured.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

PACKAGE, BY_PYTORCH = "torch_scatter", "scatter_reduce"
REPLACEMENTS = {PACKAGE: (BY_PYTORCH,)}
"""What may stand for a package's operators in a step, by package."""
_ROWS_AT_ONCE = 2**16
_by_pytorch: ContextVar[bool] = ContextVar("by_pytorch", default=False)


@contextmanager
def replaced(by: Mapping[str, str]) -> Iterator[None]:
    """Run with what stands for a package's operators.

    `torch_scatter` by `scatter_reduce` makes sums and means with index_add_, maxima and minima with
    scatter_reduce, where the index has one axis.
    """
    token = _by_pytorch.set(by.get(PACKAGE) == BY_PYTORCH)
    try:
        yield
    finally:
        _by_pytorch.reset(token)


def _is_replaced(index: Tensor) -> bool:
    return _by_pytorch.get() and index.dim() == 1


def spread(index: Tensor, other: Tensor, dim: int) -> Tensor:
    """torch_scatter.utils.broadcast: the index as a view of `other`'s shape."""
    dim %= other.dim()
    if index.dim() == 1:
        index = index.view([1] * dim + [-1])
    while index.dim() < other.dim():
        index = index.unsqueeze(-1)
    return index.expand(other.shape)


def out_shape(src: Tensor, index: Tensor, dim: int, dim_size: int | None) -> list[int]:
    """Return the source's shape with as many rows along `dim` as there are indices."""
    if dim_size is None:
        dim_size = int(index.max()) + 1 if index.numel() else 0
    shape = list(src.shape)
    shape[dim] = dim_size
    return shape


def add(src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None) -> Tensor:
    """Sum `src` by `index`, into `out` if it is given."""
    if _is_replaced(index):
        if out is None:
            out = src.new_zeros(out_shape(src, index, dim, dim_size))
        return out.index_add_(dim, index, src)
    wide = spread(index, src, dim)
    if out is None:
        out = src.new_zeros(out_shape(src, wide, dim, dim_size))
    return out.scatter_add_(dim, wide, src)


def counts(like: Tensor, index: Tensor, dim: int, dim_size: int | None) -> Tensor:
    """How many rows each index has, in the type of `like`."""
    ones = like.new_ones(index.shape)
    return add(ones, index, min(dim, index.dim() - 1), None, dim_size)


def mean(src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None) -> Tensor:
    """Means of `src` by `index`; what has no rows is 0."""
    out = add(src, index, dim, out, dim_size)
    count = counts(out, index, dim, out.shape[dim])
    if _is_replaced(index):
        return out / spread(count.clamp(min=1), out, dim)
    count.clamp_(min=1)
    count = spread(count, out, dim)
    if out.is_floating_point():
        return out.true_divide_(count)
    return out.div_(count, rounding_mode="floor")


def extreme(
    how: str, src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None
) -> tuple[Tensor, Tensor]:
    """Maxima ("amax") or minima ("amin") of `src` by `index`, and which row each is."""
    wide = spread(index, src, dim)
    shape = shape_of(src, wide, dim, out, dim_size)
    if _is_replaced(index):
        # Which row it was, nobody knows then; the tensor was made all the same.
        start = src.new_zeros(shape)
        values = start.scatter_reduce(dim, wide, src, how, include_self=False)
        places = torch.empty_like(values, dtype=torch.int64)
    else:
        values, places = apply(Extreme, src, wide, dim, shape, how)
    if out is not None:
        values = out.copy_((torch.maximum if how == "amax" else torch.minimum)(out, values))
    return values, places


def shape_of(
    src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None
) -> list[int]:
    """Return the shape of a result: that of `out` if it is given."""
    return list(out.shape) if out is not None else out_shape(src, index, dim, dim_size)


def apply(kernel: type[torch.autograd.Function], *args: Any) -> Any:
    """Call a kernel of this module."""
    return kernel.apply(*args)  # type: ignore[no-untyped-call]


class Extreme(torch.autograd.Function):
    """scatter_max and scatter_min: `(out, arg)`; arg is N along `dim` where nothing was found."""

    @staticmethod
    def forward(
        ctx: Any, src: Tensor, wide: Tensor, dim: int, shape: list[int], how: str
    ) -> tuple[Tensor, Tensor]:
        src = src.contiguous()
        out = src.new_empty(shape)
        rows = src.shape[dim]
        if src.is_meta:
            arg = src.new_full(shape, rows, dtype=torch.int64)
            out.masked_fill_(out == 0, 0)
        else:
            arg = wide.new_full(shape, rows)
            out.zero_().scatter_reduce_(dim, wide, src, how, include_self=False)
            # The kernel has no temporaries; a few rows at once keep these small.
            for first in range(0, rows, _ROWS_AT_ONCE):
                many = min(_ROWS_AT_ONCE, rows - first)
                places = torch.arange(first, first + many, device=src.device)
                places = spread(places, src.narrow(dim, first, many), dim)
                index = wide.narrow(dim, first, many)
                is_best = src.narrow(dim, first, many) == out.gather(dim, index)
                arg.scatter_reduce_(dim, index, torch.where(is_best, places, rows), "amin")
        ctx.save_for_backward(wide, arg)
        ctx.dim, ctx.shape = dim, list(src.shape)
        ctx.mark_non_differentiable(arg)
        return out, arg

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, None, None, None, None]:
        _, arg = ctx.saved_tensors
        shape = list(ctx.shape)
        shape[ctx.dim] += 1
        made = grad.new_zeros(shape).scatter_(ctx.dim, arg, grad)
        return made.narrow(ctx.dim, 0, shape[ctx.dim] - 1), None, None, None, None


class Product(torch.autograd.Function):
    """scatter_mul."""

    @staticmethod
    def forward(ctx: Any, src: Tensor, wide: Tensor, dim: int, shape: list[int]) -> Tensor:
        src = src.contiguous()
        out = src.new_ones(shape)
        if not src.is_meta:
            out.scatter_reduce_(dim, wide, src, "prod")
        ctx.save_for_backward(src, wide, out)
        ctx.dim = dim
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        src, wide, out = ctx.saved_tensors
        return (grad * out).gather(ctx.dim, wide).div_(src), None, None, None


class Segments(torch.autograd.Function):
    """segment_csr and segment_coo for sums and means: rows that follow each other become one."""

    @staticmethod
    def forward(
        ctx: Any, src: Tensor, wide: Tensor, dim: int, shape: list[int], mean: bool
    ) -> Tensor:
        src = src.contiguous()
        out = src.new_zeros(shape)
        ctx.counts = None
        if mean:
            ctx.counts = src.new_zeros(shape[: dim + 1])
        if not (src.is_meta or wide.is_meta):
            out.scatter_add_(dim, wide, src)
            if mean:
                narrow = _narrow(wide, dim)
                ctx.counts.scatter_add_(dim, narrow, src.new_ones(narrow.shape))
                out.div_(_over(ctx.counts.clamp(min=1), out))
        ctx.save_for_backward(wide)
        ctx.dim = dim
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (wide,) = ctx.saved_tensors
        made = grad.contiguous().gather(ctx.dim, wide)
        if ctx.counts is not None:
            narrow = _narrow(wide, ctx.dim)
            made.div_(_over(ctx.counts.gather(ctx.dim, narrow), made))
        return made, None, None, None, None


class Repeated(torch.autograd.Function):
    """gather_csr and gather_coo: each row as often as its segment is long."""

    @staticmethod
    def forward(ctx: Any, src: Tensor, wide: Tensor, dim: int) -> Tensor:
        ctx.save_for_backward(wide)
        ctx.dim, ctx.shape = dim, src.shape
        return src.contiguous().gather(dim, wide)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (wide,) = ctx.saved_tensors
        made = grad.new_zeros(ctx.shape).scatter_add_(ctx.dim, wide, grad.contiguous())
        return made, None, None


def _narrow(wide: Tensor, dim: int) -> Tensor:
    """Return the index without the axes that follow its own."""
    while wide.dim() > dim + 1:
        wide = wide.select(-1, 0)
    return wide


def _over(counts: Tensor, out: Tensor) -> Tensor:
    return counts.view(*counts.shape, *[1] * (out.dim() - counts.dim()))
