"""What a sparse layer computes, forward and backward.

On meta tensors the autograd functions make what spconv 2.3 makes (spconv/pytorch/functional.py and
csrc/sparse/convops.py): the same tensors in the same order, kept for backward in the same places.
With values on the CPU they gather, multiply and scatter offset by offset. A weight is KRSC:
[C_out, *kernel, C_in].
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bevdiag.memory.events import Category, allocating
from bevdiag.sparse import work
from bevdiag.sparse.rulebook import (
    MaskTables,
    NativeTables,
    PairLists,
    Rulebook,
    Tables,
)

_SMALLEST_TILE = 32
"""Rows of the smallest GEMM tile that spconv's tuner may pick; the fewer, the more mask words."""


def sparse_conv(
    features: torch.Tensor,
    weight: torch.Tensor,
    rulebook: Rulebook,
    *,
    inverse: bool,
    training: bool,
) -> torch.Tensor:
    """Convolve: [N, C_in] to [M, C_out], without the bias."""
    tables = rulebook.tables.swapped() if inverse else rulebook.tables
    num_out = len(rulebook.indices if inverse else rulebook.out_indices)
    subm = rulebook.geometry.subm
    if isinstance(tables, PairLists):
        pairs = sum(len(inputs) for inputs, _ in tables.pairs)
        work.add(2 * pairs * weight.shape[0] * weight.shape[-1])
        return _gather_multiply_scatter(features, weight, tables, num_out)
    if isinstance(tables, MaskTables) and not training:
        return features.new_empty((num_out, weight.shape[0]), dtype=weight.dtype)
    function = _ImplicitGemm if isinstance(tables, MaskTables) else _NativeConv
    flops = _flops(weight, rulebook, tables)
    work.add(flops)
    return _apply(function, features, weight, _Pass(tables, num_out, subm, flops))


def _flops(weight: torch.Tensor, rulebook: Rulebook, tables: Tables) -> int:
    """Multiplications and additions of one pass; either gradient takes as many.

    Every pair multiplies C_in inputs with C_in x C_out weights. Under the native algorithm a
    submanifold layer's centre is a matrix product, which is an operator like any other.
    """
    pairs = rulebook.num_pairs or 0
    if rulebook.geometry.subm and isinstance(tables, NativeTables):
        pairs = max(pairs - len(rulebook.indices), 0)
    return 2 * pairs * weight.shape[0] * weight.shape[-1]


def sparse_max_pool(features: torch.Tensor, rulebook: Rulebook) -> torch.Tensor:
    """Maximum over each output's inputs, and zero: [N, C] to [M, C].

    Zero takes part because spconv's kernels start from it.
    """
    function = _MaxPool if isinstance(rulebook.tables, PairLists) else _MetaMaxPool
    return _apply(function, features, rulebook.tables, len(rulebook.out_indices))


def _apply(function: type[Function], *args: Any) -> torch.Tensor:
    result: torch.Tensor = function.apply(*args)  # type: ignore[no-untyped-call]
    return result


def _gather_multiply_scatter(
    features: torch.Tensor, weight: torch.Tensor, tables: PairLists, num_out: int
) -> torch.Tensor:
    # A contiguous [C_in, C_out] an offset: the products of few columns gain a third.
    by_offset = weight.flatten(1, -2).permute(1, 2, 0).contiguous().unbind()
    out = features.new_zeros((num_out, weight.shape[0]))
    for (inputs, outputs), matrix in zip(tables.pairs, by_offset, strict=True):
        if len(inputs):
            out.index_add_(0, outputs, features.index_select(0, inputs) @ matrix)
    return out


def _cast(tensor: torch.Tensor) -> torch.Tensor:
    """To half precision under autocast, bfloat16 or not: spconv has no other."""
    if not torch.is_autocast_enabled("cuda") or tensor.dtype is torch.float64:
        return tensor
    return tensor.to(torch.float16)


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """What a convolution's forward reads beside features and weight; `flops` are one pass's."""

    tables: Any
    num_out: int
    subm: bool
    flops: int


class _ImplicitGemm(Function):
    @staticmethod
    def forward(
        ctx: Any, features: torch.Tensor, weight: torch.Tensor, given: _Pass
    ) -> torch.Tensor:
        ctx.flops, tables = given.flops, given.tables
        features, weight = _cast(features).contiguous(), _cast(weight)
        out = features.new_empty((given.num_out, weight.shape[0]))
        mask, _ = tables.fwd_order
        words = (mask.shape[0], -(-given.num_out // _SMALLEST_TILE), mask.shape[2])
        with allocating(Category.RULEBOOK):
            ctx.mask_out = mask.new_empty(words)
        ctx.save_for_backward(features, weight, tables.pair_fwd, tables.pair_bwd)
        # Unlike saved tensors these live until the graph itself is gone.
        ctx.orders = tables.fwd_order, tables.bwd_order
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        work.add(ctx.flops * sum(ctx.needs_input_grad[:2]))
        features, weight, _, _ = ctx.saved_tensors
        grad_output = grad_output.contiguous()
        grad_features = torch.empty_like(features)
        grad_weight = torch.empty_like(weight)
        with allocating(Category.WORKSPACE):
            _split_k_flags(weight)
        return grad_features, grad_weight, None


def _split_k_flags(weight: torch.Tensor) -> torch.Tensor:
    """Make 4 bytes a tile of the weight's gradient [C_out, kv * C_in]; dies with its caller."""
    rows, columns = weight.shape[0], weight[0].numel()
    tiles = -(-rows // _SMALLEST_TILE) * -(-columns // _SMALLEST_TILE)
    return weight.new_empty(4 * tiles, dtype=torch.int8)


class _NativeConv(Function):
    @staticmethod
    def forward(
        ctx: Any, features: torch.Tensor, weight: torch.Tensor, given: _Pass
    ) -> torch.Tensor:
        ctx.flops, tables = given.flops, given.tables
        features, weight = _cast(features), _cast(weight)
        ctx.save_for_backward(tables.pairs, tables.num_pairs, features, weight)
        ctx.subm = given.subm
        features = features.contiguous()
        if not given.subm:
            return features.new_empty((given.num_out, weight.shape[0]))
        # The centre pairs every voxel with itself: one plain product.
        out: torch.Tensor = torch.ops.aten.mm.default(features, _centre(weight).T)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        work.add(ctx.flops * sum(ctx.needs_input_grad[:2]))
        _, _, features, weight = ctx.saved_tensors
        grad_output = grad_output.contiguous()
        features = features.contiguous()
        grad_weight = torch.empty_like(weight)
        if ctx.subm:
            torch.ops.aten.mm.out(grad_output.T, features, out=_centre(grad_weight))
            grad_features = torch.ops.aten.mm.default(grad_output, _centre(weight))
        else:
            grad_features = torch.empty_like(features)
        with allocating(Category.WORKSPACE):
            _split_k_flags(_centre(weight))
        return grad_features, grad_weight, None


def _centre(weight: torch.Tensor) -> torch.Tensor:
    by_offset = weight.flatten(1, -2)
    return by_offset[:, by_offset.shape[1] // 2]


class _MetaMaxPool(Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, tables: Any, num_out: int) -> torch.Tensor:
        features = _cast(features)
        out = features.new_empty((num_out, features.shape[1]))
        pairs = tables.pair_bwd if isinstance(tables, MaskTables) else tables.pairs
        ctx.save_for_backward(pairs, features, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _, features, _ = ctx.saved_tensors
        grad_features = torch.empty_like(features)
        grad_output.contiguous()
        return grad_features, None, None


class _MaxPool(Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, tables: PairLists, num_out: int) -> torch.Tensor:
        out = features.new_zeros((num_out, features.shape[1]))
        for inputs, outputs in tables.pairs:
            # Under one offset no output meets two inputs, so plain assignment loses nothing.
            out[outputs] = torch.maximum(out[outputs], features[inputs])
        ctx.save_for_backward(features, out)
        ctx.tables = tables
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        features, out = ctx.saved_tensors
        grad_features = torch.zeros_like(features)
        for inputs, outputs in ctx.tables.pairs:
            won = features[inputs] == out[outputs]
            grad_features.index_add_(0, inputs, grad_output[outputs] * won)
        return grad_features, None, None
