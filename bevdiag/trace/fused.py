"""Calls that a GPU runs as one kernel: attention, and recurrent layers for all steps and layers.

On meta tensors PyTorch multiplies matrices instead: attention would keep all scores, and recurrent
layers are unrolled step by step. Which kernel runs, what it keeps and asks for is computed by
memory/attention.py and memory/workspaces.py; here are the tensors, in the order and with the
strides of aten/src/ATen/native/cudnn/{MHA,RNN}.cpp and of
aten/src/ATen/native/transformers/{attention.cpp,cuda/attention.cu,cuda/attention_backward.cu}.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

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
from bevdiag.memory.requests import RnnCall
from bevdiag.memory.workspaces import GATES, bias_elements, reserve_bytes, weight_elements
from bevdiag.trace.operands import unrecorded
from bevdiag.trace.recorder import Recorder

aten = torch.ops.aten
_MASK_ALIGNMENT = 8
_GRAD_MASK_ALIGNMENT = 16
_MOST_NEGATIVE = -65504.0
DROPOUT_BYTES = 24 * 2048
"""A generator's state for each thread of a multiprocessor."""
KINDS = {getattr(torch, kind): kind for kind in GATES}
"""The functions that run a padded batch, by their names."""


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
        by_rows = kernel is Kernel.EFFICIENT or shape != tuple(query.shape)
        out = _tracked(recorder, op, _by_rows(shape, query) if by_rows else _alike(query))
        saved = [query, key, value, out]
        if call.has_grad:
            nbytes = logsumexp_bytes(call, kernel)
            saved.append(_made(recorder, op, nbytes // 4, torch.float32))
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
            by_rows = kernel is Kernel.EFFICIENT
            made = _by_rows(tensor.shape, tensor) if by_rows else _alike(tensor)
            grads.append(_tracked(recorder, op, made))
        wants_bias = ctx.has_bias and ctx.needs_input_grad[7]
        grads.append(_tracked(recorder, op, _grad_of_bias(rest[0])) if wants_bias else None)
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


def _alike(tensor: Tensor) -> Tensor:
    return unrecorded(torch.empty_like, tensor.detach())


def _watch(recorder: Recorder, packet: Any, args: tuple[Any, ...], outputs: Any) -> None:
    if recorder.watcher is not None:
        recorder.watcher(packet.default, args, {}, outputs)


def recur(
    recorder: Recorder,
    multiprocessors: int,
    kind: str,
    dtype: torch.dtype | None,
    *args: Any,
) -> Any:
    """Record a call of torch.lstm, gru, rnn_tanh or rnn_relu on a padded batch.

    Args:
        recorder: records it.
        multiprocessors: of the GPU.
        kind: the function's name.
        dtype: what autocast computes in, None where it is off.
        args: input, hidden states, weights, has_biases, num_layers, dropout, train, bidirectional,
            batch_first; None as the result where it is no such call (packed, or projected).
    """
    if len(args) != 9 or not isinstance(args[2], (list, tuple)):
        return None
    data, states, weights, has_biases, layers, dropout, train, is_two_way, batch_first = args
    states = tuple(states) if kind == "lstm" else (states,)
    hidden = states[0].shape[-1]
    per_layer = (4 if has_biases else 2) * layers * (2 if is_two_way else 1)
    if not data.is_meta or len(weights) != per_layer:
        return None
    batch, steps = data.shape[:2] if batch_first else data.shape[1::-1]
    if dtype is not None:
        data, states = data.to(dtype), tuple(state.to(dtype) for state in states)
    call = RnnCall(
        kind=kind,
        steps=steps,
        batch=batch,
        inputs=data.shape[2],
        hidden=hidden,
        layers=layers,
        directions=2 if is_two_way else 1,
        element_bytes=data.element_size(),
        has_dropout=bool(train and dropout),
    )
    if call.has_dropout:
        recorder.once("cuDNN dropout", DROPOUT_BYTES * multiprocessors, kind)
    rows = data.transpose(0, 1) if batch_first else data
    out, *last = _Cudnn.apply(  # type: ignore[no-untyped-call]
        recorder, call, len(states), rows, *states, *weights
    )
    return (out.transpose(0, 1) if batch_first else out, *last)


class _Cudnn(torch.autograd.Function):
    """aten::_cudnn_rnn over rows [T, B, C], forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, recorder: Recorder, call: RnnCall, num_states: int, rows: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        op, dtype = f"{call.kind} (cuDNN)", rows.dtype
        states, weights = rest[:num_states], rest[num_states:]
        held = []
        if weights[0].dtype is not dtype:
            # Autocast casts all weights into one buffer.
            nbytes = (weight_elements(call) + bias_elements(call)) * call.element_bytes
            ctx.flat = _made(recorder, op, nbytes, torch.uint8)
        held += recorder.dense_copy(rows, op=op)
        width = call.directions * call.hidden
        out = _made(recorder, op, (call.steps, call.batch, width), dtype)
        last = [_made(recorder, op, state.shape, dtype) for state in states]
        held.append(recorder.temporary(0, op, Category.WORKSPACE, call))
        reserve = _made(recorder, op, reserve_bytes(call), torch.uint8)
        recorder.release(*held)
        ctx.recorder, ctx.call, ctx.num_states = recorder, call, num_states
        ctx.save_for_backward(rows, out, reserve, *rest)
        return (out, *last)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *last: Tensor) -> Any:
        recorder, call = ctx.recorder, ctx.call
        rows, _out, _reserve, *rest = ctx.saved_tensors
        op = f"{call.kind} backward (cuDNN)"
        held = [*recorder.dense_copy(rows, op=op), *recorder.dense_copy(grad, op=op)]
        read = rows, *rest[: ctx.num_states]
        grads = [_made(recorder, op, tensor.shape, rows.dtype) for tensor in read]
        recorder.scratch(0, op, Category.WORKSPACE, call)
        recorder.release(*held)
        held = recorder.dense_copy(rows, op=op)
        elements = weight_elements(call) + bias_elements(call)
        flat = _made(recorder, op, elements, rows.dtype)
        recorder.scratch(0, op, Category.WORKSPACE, call)
        recorder.release(*held)
        weights, start = [], 0
        for weight in rest[ctx.num_states :]:
            with _disable_current_modes():
                weights.append(flat[start : start + weight.numel()].view(weight.shape))
            start += weight.numel()
        wanted = ctx.needs_input_grad[3:]
        results = zip([*grads, *weights], wanted, strict=True)
        return (None, None, None, *(found if needed else None for found, needed in results))


def _made(recorder: Recorder, op: str, shape: Any, dtype: torch.dtype) -> Tensor:
    """Make a dense tensor where no mode looks, and record it."""
    return _tracked(recorder, op, unrecorded(torch.empty, shape, dtype=dtype, device="meta"))


def _tracked(recorder: Recorder, op: str, tensor: Tensor) -> Tensor:
    recorder.track(tensor, op)
    return tensor
