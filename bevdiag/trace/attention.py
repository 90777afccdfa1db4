"""`scaled_dot_product_attention` as a GPU runs it: one kernel, and what it keeps for backward.

On meta tensors PyTorch multiplies matrices instead, which would keep all scores. Which kernel runs
and what it asks for is computed by memory/attention.py; here are the tensors, in the order and with
the strides of aten/src/ATen/native/transformers/{attention.cpp,cuda/attention.cu,
cuda/attention_backward.cu} and cudnn/MHA.cpp.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bevdiag.memory.attention import (
    AttentionCall,
    Kernel,
    attention_kernel,
    backward_scratch,
    forward_scratch,
    logsumexp_bytes,
)
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Category
from bevdiag.trace.operands import unrecorded
from bevdiag.trace.recorder import Recorder

aten = torch.ops.aten
_MASK_ALIGNMENT = 8
_GRAD_MASK_ALIGNMENT = 16
_MOST_NEGATIVE = -65504.0


def attend(
    recorder: Recorder,
    target: DeviceTarget,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    """Record the call on the target's kernel; None leaves plain products to PyTorch.

    Args:
        recorder: records it.
        target: whose torch picks the kernel.
        query: [B, H, M, K].
        key: [B, H', N, K].
        value: [B, H', N, K'].
        attn_mask: boolean, or added to the scores; broadcasts to [B, H, M, N].
        dropout_p: the share of scores that is dropped.
        is_causal: whether later keys are masked.
        scale: of the scores, which takes no memory.
        enable_gqa: whether several heads may share keys.

    Returns:
        [B, H, M, K'], None where the scores are made.
    """
    kernel = Kernel.MATH
    call = None
    if query.is_meta and query.dim() == key.dim() == value.dim() == 4:
        call = _call(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa)
        kernel = attention_kernel(call, target)
    if call is None or kernel is Kernel.MATH:
        return None
    bias = None if attn_mask is None else _bias(attn_mask, query, key, kernel)
    width = value.shape[-1]
    if kernel is Kernel.FLASH:
        query, key, value = (_padded(tensor, 8) for tensor in (query, key, value))
    out: Tensor = _Fused.apply(  # type: ignore[no-untyped-call]
        recorder, target, kernel, call, query, key, value, bias
    )
    return out[..., :width] if out.shape[-1] != width else out


def _call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float,
    is_causal: bool,
    shares_keys: bool,
) -> AttentionCall:
    batch, heads, queries, width = query.shape
    tensors = (query, key, value)
    same_batch = key.shape[0] == value.shape[0] == batch and key.shape[1] == value.shape[1]
    same_dtype = len({tensor.dtype for tensor in tensors}) == 1 and same_batch
    dense = all(tensor.stride(-1) == 1 or tensor.shape[-1] == 1 for tensor in tensors)
    return AttentionCall(
        batch=batch,
        heads=heads,
        key_heads=key.shape[1],
        queries=queries,
        keys=key.shape[2],
        width=width,
        value_width=value.shape[3],
        dtype=str(query.dtype).removeprefix("torch.") if same_dtype else "",
        is_dense=dense and (mask is None or mask.stride(-1) == 1 or mask.dtype is torch.bool),
        has_mask=mask is not None,
        mask_fits=mask is None or _broadcasts(mask, (batch, heads, queries, key.shape[2])),
        mask_has_grad=mask is not None and mask.requires_grad,
        dropout=dropout,
        is_causal=is_causal,
        shares_keys=shares_keys,
        has_grad=torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors),
    )


def _broadcasts(mask: Tensor, shape: tuple[int, ...]) -> bool:
    sizes = zip(reversed(mask.shape), reversed(shape), strict=False)
    return mask.dim() in (2, 4) and all(size in (1, wanted) for size, wanted in sizes)


def _bias(mask: Tensor, query: Tensor, key: Tensor, kernel: Kernel) -> Tensor:
    """Return the mask as something to add, laid out as the kernel reads it."""
    if mask.dtype is torch.bool:
        zero = torch.zeros((), dtype=query.dtype, device=query.device)
        low = torch.full((), _MOST_NEGATIVE, dtype=query.dtype, device=query.device)
        mask = torch.where(mask, zero, low)
    if kernel is not Kernel.EFFICIENT:
        return mask
    is_aligned = all(stride % _MASK_ALIGNMENT == 0 for stride in mask.stride()[:-1])
    if not is_aligned or mask.stride(-1) != 1:
        length = mask.shape[-1]
        missing = _MASK_ALIGNMENT - length % _MASK_ALIGNMENT
        mask = functional.pad(mask, (0, missing))[..., :length]
    return mask.expand(*query.shape[:3], key.shape[2])


def _padded(tensor: Tensor, multiple: int) -> Tensor:
    missing = -tensor.shape[-1] % multiple
    return functional.pad(tensor, (0, missing)) if missing else tensor


def _by_rows(shape: Any, like: Tensor) -> Tensor:
    """Return a [B, H, M, K] tensor that lies in memory as [B, M, H, K]."""
    _, heads, rows, width = shape
    strides = (rows * heads * width, width, heads * width, 1)
    # Not a view: autograd adds into a gradient in place only if nothing else holds its storage.
    return unrecorded(torch.empty_strided, shape, strides, dtype=like.dtype, device="meta")


class _Fused(torch.autograd.Function):
    """One fused kernel, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any,
        recorder: Recorder,
        target: DeviceTarget,
        kernel: Kernel,
        call: AttentionCall,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.recorder, ctx.kernel, ctx.call = recorder, kernel, call
        op = f"scaled_dot_product_attention ({kernel.value})"
        shape = (*query.shape[:3], value.shape[3])
        if kernel is Kernel.EFFICIENT or shape != tuple(query.shape):
            out = _by_rows(shape, query)
        else:
            out = unrecorded(torch.empty_like, query.detach())
        recorder.track(out, op)
        saved = [query, key, value, out]
        if call.has_grad:
            nbytes = logsumexp_bytes(call, kernel)
            lse = unrecorded(torch.empty, nbytes // 4, dtype=torch.float32, device="meta")
            recorder.track(lse, op)
            saved.append(lse)
        scratch = forward_scratch(call, kernel, target)
        recorder.release(*[_scratch(recorder, nbytes, op) for nbytes in scratch])
        ctx.save_for_backward(*saved, *([] if bias is None else [bias]))
        ctx.has_bias = bias is not None
        _watch(recorder, aten._scaled_dot_product_efficient_attention, (query, key, value), out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        recorder, kernel, call = ctx.recorder, ctx.kernel, ctx.call
        query, key, value, out, _lse, *rest = ctx.saved_tensors
        op = f"scaled_dot_product_attention_backward ({kernel.value})"
        held: list[int] = []
        copied = [grad, out] if kernel is Kernel.FLASH else [grad]
        for tensor in copied:
            is_dense = tensor.transpose(1, 2).is_contiguous()
            if kernel is Kernel.CUDNN:
                is_dense = tensor.stride(-1) != 0
            if not is_dense:
                held.append(recorder.temporary(tensor.nbytes, op))
        grads: list[Tensor | None] = []
        for tensor in (query, key, value):
            if kernel is Kernel.EFFICIENT:
                grads.append(_by_rows(tensor.shape, tensor))
            else:
                grads.append(unrecorded(torch.empty_like, tensor.detach()))
            recorder.track(grads[-1], op)
        grads.append(_grad_of_bias(rest[0]) if ctx.has_bias and ctx.needs_input_grad[7] else None)
        if grads[-1] is not None:
            recorder.track(grads[-1], op)
        scratch = list(backward_scratch(call, kernel))
        if kernel is Kernel.EFFICIENT and call.element_bytes == 4:
            # The products with the output are summed by other operations, and laid out anew.
            delta = scratch.pop(0)
            product = recorder.temporary(out.numel() * 4, op)
            total = recorder.temporary(delta, op)
            held.append(recorder.temporary(delta, op))
            recorder.release(product, total)
        held += [_scratch(recorder, nbytes, op) for nbytes in scratch]
        recorder.release(*held)
        func = aten._scaled_dot_product_efficient_attention_backward
        _watch(recorder, func, (grad, query, key, value), tuple(grads[:3]))
        return (None, None, None, None, *grads)


def _scratch(recorder: Recorder, nbytes: int, op: str) -> int:
    return recorder.temporary(nbytes, op, Category.WORKSPACE)


def _grad_of_bias(bias: Tensor) -> Tensor:
    *outer, length = bias.shape
    aligned = length + -length % _GRAD_MASK_ALIGNMENT
    return unrecorded(torch.empty, (*outer, aligned), dtype=bias.dtype, device="meta")[..., :length]


def _watch(recorder: Recorder, packet: Any, args: tuple[Any, ...], outputs: Any) -> None:
    if recorder.watcher is not None:
        recorder.watcher(packet.default, args, {}, outputs)
