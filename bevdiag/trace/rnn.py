"""Recurrent layers as cuDNN runs them: one call for all steps and layers.

On meta tensors PyTorch unrolls them into products, step by step. What a call keeps and asks for is
computed by memory/workspaces.py; here are the tensors, in the order of
aten/src/ATen/native/cudnn/RNN.cpp.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from bevdiag.memory.events import Category
from bevdiag.memory.requests import RnnCall
from bevdiag.memory.workspaces import GATES, bias_elements, reserve_bytes, weight_elements
from bevdiag.trace.operands import unrecorded
from bevdiag.trace.recorder import Recorder

DROPOUT_BYTES = 24 * 2048
"""A generator's state for each thread of a multiprocessor."""
KINDS = {getattr(torch, kind): kind for kind in GATES}
"""The functions that run a padded batch, by their names."""


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


def _unrecorded(shape: Any, dtype: torch.dtype) -> Tensor:
    return unrecorded(torch.empty, shape, dtype=dtype, device="meta")


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
            flat = _unrecorded(nbytes, torch.uint8)
            recorder.track(flat, op)
            ctx.flat = flat
        held += recorder.dense_copy(rows, op=op)
        width = call.directions * call.hidden
        out = _unrecorded((call.steps, call.batch, width), dtype)
        last = [_unrecorded(state.shape, dtype) for state in states]
        for tensor in (out, *last):
            recorder.track(tensor, op)
        held.append(recorder.temporary(0, op, Category.WORKSPACE, call))
        reserve = _unrecorded(reserve_bytes(call), torch.uint8)
        recorder.track(reserve, op)
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
        grads = [
            _unrecorded(tensor.shape, rows.dtype) for tensor in (rows, *rest[: ctx.num_states])
        ]
        for tensor in grads:
            recorder.track(tensor, op)
        recorder.scratch(0, op, Category.WORKSPACE, call)
        recorder.release(*held)
        held = recorder.dense_copy(rows, op=op)
        elements = weight_elements(call) + bias_elements(call)
        flat = _unrecorded(elements, rows.dtype)
        recorder.track(flat, op)
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
