"""Kernels of packages that compute on a GPU alone: what they allocate, in their order.

The selective scan of state space models and the causal convolution before it return tensors, and
these are theirs: the outputs of `selective_scan_cuda` (mamba_ssm's csrc/selective_scan) and of
`causal_conv1d_cuda`.

Attention by flash_attn before 2.0 takes packed sequences, [tokens of all of them, heads, width].
Beside the output, of the inputs' type, its forward pass (fmha_api.cpp) makes the logarithms of the
sums, [sequences, heads, queries], in float32; where the keys take more than one block, it adds up
in float32 beside the output, and the backward pass beside the queries' gradient. Neither has
values.

PyTorch3D's distance of point sets has: nearest neighbours, then a mean. Its kernels fill what is
allocated here, of each point the squared distance to the nearest of the other set and that one's
row, and going back the gradients of both sets.
"""

import math
from typing import Any

import torch
from torch import Tensor

from bevdiag.errors import NoVerdictError
from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.stubs.compiled import array
from bevdiag.source.stubs.neighbours import nearest

_ROUNDED = 16
"""Queries of a sequence are rounded up to it."""
_WIDE = 64
"""Width of a head up to which a block holds twice the keys."""
_KEYS_OF_A_BLOCK = 128
_CHUNK = 2048
"""Steps of a sequence after which the scan stores its state for the backward pass."""


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, *rest: Any) -> list[Tensor]:
    """U and delta [B, D, L], a [D, N]: out [B, D, L], states [B, D, chunks, 2N], with z out_z."""
    z = rest[3]  # behind b, c and d
    _need_meta(u)
    batch, channels, length = u.shape
    chunks = math.ceil(length / _CHUNK)
    out_z = [torch.empty_like(z)] if z is not None else []
    out = torch.empty_like(delta)
    kind = torch.complex64 if a.is_complex() else torch.float32
    states = torch.empty((batch, channels, chunks, a.shape[1] * 2), dtype=kind, device=u.device)
    return [out, states, *out_z]


def selective_scan_backward(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    dout: Tensor,
    states: Tensor | None = None,
    out: Tensor | None = None,
    dz: Tensor | None = None,
    softplus: bool = False,
    recomputes: bool = False,
    *_: Any,
) -> list[Any]:
    """Gradients of what the scan read; those of what varies along L are summed in float32."""
    _need_meta(u)
    gated: list[Tensor] = []
    if z is not None:
        gated.append(torch.empty_like(z) if dz is None else dz)
        if recomputes:
            gated.append(torch.empty_like(out if out is not None else u))
    du, ddelta = torch.empty_like(u), torch.empty_like(delta)
    da = torch.zeros_like(a)
    db, dc = (torch.zeros_like(x, dtype=torch.float32 if x.dim() >= 3 else x.dtype) for x in (b, c))
    dd = None if d is None else torch.zeros_like(d)
    dbias = None if delta_bias is None else torch.zeros_like(delta_bias)
    return [du, ddelta, da, db, dc, dd, dbias, *gated]


def causal_conv(x: Tensor, *_: Any) -> Tensor:
    """X [B, D, L]: the same shape."""
    _need_meta(x)
    return torch.empty_like(x)


def causal_conv_backward(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> list[Any]:
    """Gradients of x (where the caller gives it, there), of the weight [D, K] and of the bias."""
    _need_meta(x)
    given = [value for value in rest if isinstance(value, Tensor) and value.shape == x.shape]
    dx = given[1] if len(given) > 1 else torch.empty_like(x)
    dweight = torch.zeros_like(weight, dtype=torch.float32)
    dbias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
    # Newer releases return the gradient of the initial states too, as None.
    modern = len(rest) > 3
    return [dx, dweight, dbias, None] if modern else [dx, dweight, dbias]


class _CausalConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = x if x.stride(2) == 1 or x.stride(1) == 1 else x.contiguous()
        ctx.save_for_backward(x, weight, bias)
        return causal_conv(x)

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:
        dx, dweight, dbias = causal_conv_backward(*ctx.saved_tensors, dout)
        return dx, dweight, dbias


def causal_conv1d_fn(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    """causal_conv1d.causal_conv1d_fn."""
    convolved: Tensor = _CausalConv.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return convolved


class _PackedKeysAndValues(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, kv: Tensor, starts: Tensor, most_queries: int, most_keys: int
    ) -> Tensor:
        _need_meta(q, "flash_attn")
        ctx.has_several = most_keys > _KEYS_OF_A_BLOCK * (2 if q.shape[-1] <= _WIDE else 1)
        ctx.queries = math.ceil(most_queries / _ROUNDED) * _ROUNDED
        out = torch.empty_like(q)
        in_float = _in_float(q) if ctx.has_several else None
        sums = q.new_empty((len(starts) - 1, q.shape[1], ctx.queries), dtype=torch.float32)
        del in_float
        ctx.save_for_backward(q, kv, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        q, kv, _, sums = ctx.saved_tensors
        dq, dkv = torch.empty_like(q), torch.empty_like(kv)
        dots = torch.empty_like(sums)
        in_float = _in_float(q) if ctx.has_several else None
        del dots, in_float
        return dq, dkv, None, None, None


def _in_float(q: Tensor) -> Tensor:
    return torch.empty_like(q, dtype=torch.float32)


def unpadded_kvpacked(
    q: Tensor,
    kv: Tensor,
    starts: Tensor,
    _: Tensor,
    most_queries: int,
    most_keys: int,
    *__: Any,
    **___: Any,
) -> Tensor:
    """Attend from q [Q, heads, width] to kv [K, 2, heads, width]; `starts` is one more each."""
    attend: Any = _PackedKeysAndValues.apply
    found: Tensor = attend(q, kv, starts, most_queries, most_keys)
    return found


def _need_meta(tensor: Tensor, kernels: str = "a selective scan") -> None:
    if not tensor.is_meta:
        raise NoVerdictError(f"the kernels of {kernels} have no values on the CPU")


class _Nearest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, x_lengths: Tensor, y_lengths: Tensor) -> Tensor:
        # Of sets of which one has no values, no distance has one.
        device = y.device if y.is_meta else x.device
        rows = torch.zeros((*x.shape[:2], 1), dtype=torch.int64, device=device)
        squares = torch.zeros((*x.shape[:2], 1), dtype=torch.float32, device=device)
        if device.type != "meta":
            for mine, theirs, row, square in zip(*map(array, (x, y, rows, squares)), strict=True):
                square[...], row[...] = nearest(mine, theirs, 1)
        ctx.save_for_backward(x, y, x_lengths, y_lengths, rows)
        return squares

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, y, *_ = ctx.saved_tensors
        return torch.zeros_like(x), torch.zeros_like(y), None, None


def chamfer_distance(
    x: Tensor,
    y: Tensor,
    x_lengths: Tensor | None = None,
    y_lengths: Tensor | None = None,
    weights: Tensor | None = None,
    batch_reduction: str | None = "mean",
    point_reduction: str | None = "mean",
    single_directional: bool = False,
    **others: Any,
) -> tuple[Tensor, None]:
    """pytorch3d.loss.chamfer_distance of sets [N, P, 3] with all their points, without normals.

    Raises:
        NoVerdictError: it is asked for what has no definition here.
    """
    asked = [name for name, value in others.items() if value is not None]
    if x_lengths is not None or y_lengths is not None or asked or point_reduction is None:
        raise stopped(
            "pytorch3d.loss.chamfer_distance is called with lengths, normals, another norm or "
            "without a reduction of points, which bevdiag does not know",
            Remedy.KERNEL,
        )
    device = y.device if y.is_meta else x.device
    x_lengths, y_lengths = (
        torch.full((len(points),), points.shape[1], dtype=torch.int64, device=device)
        for points in (x, y)
    )
    both = [(x, y, x_lengths, y_lengths)]
    if not single_directional:
        both.append((y, x, y_lengths, x_lengths))
    parts = [_one_way(*way, weights, batch_reduction, point_reduction) for way in both]
    return (parts[0] if len(parts) == 1 else parts[0] + parts[1]), None


def _one_way(
    x: Tensor,
    y: Tensor,
    x_lengths: Tensor,
    y_lengths: Tensor,
    weights: Tensor | None,
    batch_reduction: str | None,
    point_reduction: str,
) -> Tensor:
    nearest: Tensor = _Nearest.apply(  # type: ignore[no-untyped-call]
        x.contiguous(), y.contiguous(), x_lengths, y_lengths
    )
    distance = nearest[..., 0]
    if weights is not None:
        distance *= weights.view(len(x), 1)
    distance = distance.sum(1)
    if point_reduction == "mean":
        distance /= x_lengths.clamp(min=1)
    if batch_reduction is None:
        return distance
    total = distance.sum()
    if batch_reduction == "mean":
        total /= weights.sum() if weights is not None else max(len(x), 1)
    return total
