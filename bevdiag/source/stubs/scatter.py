"""torch_scatter, along any axis: with values where there are any, with its memory where not."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor

from bevdiag.models.scatter import (
    Extreme,
    Product,
    Repeated,
    Segments,
    add,
    apply,
    counts,
    extreme,
    mean,
    shape_of,
    spread,
)
from bevdiag.source.state import running

__version__ = "2.1.2"

Out = Tensor | None
Size = int | None


def without_values(src: Tensor) -> Tensor:
    """Take the values from features where a trace is running."""
    trace = running()
    return trace.valueless(src) if trace and src.is_floating_point() else src


def _by_index(reduce: Callable[..., Any]) -> Any:
    """Give a reduction torch_scatter's arguments.

    `reduce` gets features without values, an axis from 0 on, and options of its own behind both.
    """

    @wraps(reduce)
    def reduced(
        src: Tensor,
        index: Tensor,
        dim: int = -1,
        out: Out = None,
        dim_size: Size = None,
        *options: Any,
        **named: Any,
    ) -> Any:
        dim %= src.dim()
        return reduce(without_values(src), index, dim, out, dim_size, *options, **named)

    return reduced


scatter_sum = scatter_add = _by_index(add)
scatter_mean = _by_index(mean)
scatter_max, scatter_min = (_by_index(partial(extreme, how)) for how in ("amax", "amin"))


@_by_index
def scatter_mul(src: Tensor, index: Tensor, dim: int, out: Out, dim_size: Size) -> Tensor:
    """Multiply by index."""
    wide = spread(index, src, dim)
    made: Tensor = apply(Product, src, wide, dim, shape_of(src, wide, dim, out, dim_size))
    return made if out is None else out.mul_(made)


@_by_index
def scatter(
    src: Tensor, index: Tensor, dim: int, out: Out, dim_size: Size, reduce: str = "sum"
) -> Tensor:
    """Reduce by the name: sum (or add), mul, mean, max or min."""
    found = _BY_NAME[reduce](src, index, dim, out, dim_size)
    made: Tensor = found[0] if isinstance(found, tuple) else found
    return made


_BY_NAME = {
    **{"sum": scatter_sum, "add": scatter_sum, "mul": scatter_mul, "mean": scatter_mean},
    **{"max": scatter_max, "min": scatter_min},
}


# -- composites: torch_scatter writes them in these operations -------------------------------------


@_by_index
def scatter_std(
    src: Tensor, index: Tensor, dim: int, out: Out, dim_size: Size, unbiased: bool = True
) -> Tensor:
    """Compute standard deviations by index."""
    dim_size = out.shape[dim] if out is not None else dim_size
    count = counts(src, index, dim, dim_size)
    wide = spread(index, src, dim)
    total = add(src, wide, dim, None, dim_size)
    count = spread(count, total, dim).clamp(1)
    mean = total.div(count)
    deviation = src - mean.gather(dim, wide)
    deviation = deviation * deviation
    out = add(deviation, wide, dim, out, dim_size)
    if unbiased:
        count = count.sub(1).clamp_(1)
    return out.div(count + 1e-6).sqrt()


def scatter_softmax(src: Tensor, index: Tensor, dim: int = -1, dim_size: Size = None) -> Tensor:
    """Softmax among the rows of each index: of the source's shape."""
    centred, wide, dim = _centred(src, index, dim, dim_size)
    powers = centred.exp_()
    total = add(powers, wide, dim, None, dim_size)
    return powers.div(total.gather(dim, wide))


def scatter_log_softmax(
    src: Tensor, index: Tensor, dim: int = -1, eps: float = 1e-12, dim_size: Size = None
) -> Tensor:
    """Log-softmax among the rows of each index: of the source's shape."""
    centred, wide, dim = _centred(src, index, dim, dim_size)
    total = add(centred.exp(), wide, dim, None, dim_size)
    return centred.sub_(total.add_(eps).log_().gather(dim, wide))


@_by_index
def scatter_logsumexp(
    src: Tensor, index: Tensor, dim: int, out: Out, dim_size: Size, eps: float = 1e-12
) -> Tensor:
    """Compute the logarithm of the sum of powers by index."""
    wide = spread(index, src, dim)
    size = shape_of(src, wide, dim, out, dim_size)[dim]
    largest = scatter_max(src.detach(), wide, dim, dim_size=size)[0]
    centred = src - largest.gather(dim, wide)
    total = add(centred.exp_(), wide, dim, out, size)
    return total.add_(eps).log_().add_(largest)


def _centred(src: Tensor, index: Tensor, dim: int, dim_size: Size) -> tuple[Tensor, Tensor, int]:
    src, dim = without_values(src), dim % src.dim()
    wide = spread(index, src, dim)
    largest = scatter_max(src, wide, dim, dim_size=dim_size)[0]
    return src - largest.gather(dim, wide), wide, dim


# -- segments: rows of one index follow each other ------------------------------------------------


def segment_coo(
    src: Tensor, index: Tensor, out: Out = None, dim_size: Size = None, reduce: str = "sum"
) -> Tensor:
    """Like `scatter` with a sorted index, along the index's last axis."""
    src, dim = without_values(src), index.dim() - 1
    wide = _wide(index, src)
    shape = shape_of(src, wide, dim, out, dim_size)
    return _reduced(src, wide, dim, shape, out, reduce)


def segment_csr(src: Tensor, indptr: Tensor, out: Out = None, reduce: str = "sum") -> Tensor:
    """Reduce rows `indptr[i]` to `indptr[i + 1]` along the last axis of `indptr`."""
    src, dim = without_values(src), indptr.dim() - 1
    shape = list(src.shape)
    shape[dim] = max(indptr.shape[-1] - 1, 0)
    return _reduced(src, _wide(_rows(indptr), src), dim, shape, out, reduce)


def gather_coo(src: Tensor, index: Tensor, out: Out = None) -> Tensor:
    """Row `index[i]` for each i, along the index's last axis."""
    src = without_values(src)
    made: Tensor = apply(Repeated, src, _wide(index, src), index.dim() - 1)
    return made if out is None else out.copy_(made)


def gather_csr(src: Tensor, indptr: Tensor, out: Out = None) -> Tensor:
    """Row i as often as `indptr[i]` and `indptr[i + 1]` are apart."""
    return gather_coo(src, _rows(indptr), out)


def _reduced(
    src: Tensor, wide: Tensor, dim: int, shape: list[int], out: Out, reduce: str
) -> Tensor:
    if reduce in ("max", "min"):
        made: Tensor = apply(Extreme, src, wide, dim, shape, f"a{reduce}")[0]
    else:
        made = apply(Segments, src, wide, dim, shape, reduce == "mean")
    return made if out is None else out.copy_(made)


def _wide(index: Tensor, src: Tensor) -> Tensor:
    """Return the index for all axes that follow its own."""
    shape = (*index.shape, *src.shape[index.dim() :])
    return index.view(*index.shape, *[1] * (src.dim() - index.dim())).expand(shape)


def _rows(indptr: Tensor) -> Tensor:
    """[..., M + 1] row pointers to [..., N] indices. The kernels read the pointers themselves."""
    flat = indptr.reshape(-1, indptr.shape[-1])
    trace = running()
    with trace.recorder.on_host() if trace else nullcontext():
        rows = [torch.arange(len(p) - 1).repeat_interleave(p[1:] - p[:-1]) for p in flat]
        return torch.stack(rows).view(*indptr.shape[:-1], -1)


segment_sum_csr = partial(segment_csr, reduce="sum")
segment_mean_csr = partial(segment_csr, reduce="mean")
