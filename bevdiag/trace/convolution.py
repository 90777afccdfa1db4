"""Convolutions as the GPU runs them: the workspace between the outputs, in the real order.

Which backend runs and how much it asks for is the target's business (memory/); the trace only
says where in the stream the question comes up. Source: aten/src/ATen/native/cudnn/ConvShared.cpp.
"""

from typing import Any

import torch
from torch._prims_common import suggest_memory_format

from bevdiag.memory.events import Category
from bevdiag.memory.requests import ConvCall
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.sorting import sum_over


def _layout(data: torch.Tensor, weight: torch.Tensor) -> torch.memory_format:
    """How the backend works: channels-last where input or weight are, else plain."""
    if data.dim() == 4 and torch.channels_last in map(suggest_memory_format, (data, weight)):
        return torch.channels_last
    return torch.contiguous_format


def _laid_out(tensor: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """Lay a result out as cuDNN does: the shape functions of some torch differ."""
    if layout is torch.contiguous_format or tensor.is_contiguous(memory_format=layout):
        return tensor
    return torch.empty_like(tensor, memory_format=layout)


def _call(
    direction: str,
    data: torch.Tensor,
    weight: torch.Tensor,
    output_shape: tuple[int, ...],
    geometry: tuple[Any, ...],
    layout: torch.memory_format,
) -> ConvCall:
    stride, padding, dilation, transposed, _, groups = geometry
    spatial = data.dim() - 2

    def per_axis(values: Any) -> tuple[int, ...]:
        return tuple(values) * (spatial if len(values) == 1 else 1)

    return ConvCall(
        direction=direction,
        input_shape=tuple(data.shape),
        weight_shape=tuple(weight.shape),
        output_shape=output_shape,
        stride=per_axis(stride),
        padding=per_axis(padding),
        dilation=per_axis(dilation),
        groups=groups,
        transposed=transposed,
        element_bytes=data.element_size(),
        dtype=str(data.dtype).removeprefix("torch."),
        channels_last=layout is torch.channels_last,
    )


def forward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """aten.convolution(input, weight, bias, stride, padding, dilation, transposed, ..., groups)."""
    args, kwargs = recorder.unmixed(args, kwargs)
    data, weight = args[:2]
    layout = _layout(data, weight)
    copies = recorder.dense_copy(data, layout)
    output = _laid_out(func(*args, **kwargs), layout)
    recorder.track(output, str(func))
    copies += recorder.dense_copy(weight, layout)
    call = _call("forward", data, weight, tuple(output.shape), args[3:], layout)
    recorder.scratch(0, "forward convolution", Category.WORKSPACE, call)
    recorder.release(*copies)
    return output


def backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """aten.convolution_backward(grad_output, input, weight, bias_sizes, ..., output_mask).

    A gradient whose strides suggest the other layout (one that comes through a permutation) is
    copied once, for both calls, and so is any of a transposed convolution; one that merely has gaps
    (a slice) is copied in each of them.
    """
    args, kwargs = recorder.unmixed(args, kwargs)
    grad_output, data, weight, _ = args[:4]
    layout = _layout(data, weight)
    held = recorder.dense_copy(data, layout) if args[10][1] else []
    is_transposed = args[7]
    copied_in_each = suggest_memory_format(grad_output) is layout and not is_transposed
    if not copied_in_each:
        held += recorder.dense_copy(grad_output, layout)
    outputs = func(*args, **kwargs)
    results = [None if output is None else _laid_out(output, layout) for output in outputs[:2]]
    shape = tuple(grad_output.shape)
    for output, direction in zip(results, ("dgrad", "wgrad"), strict=True):
        if output is None:
            continue
        call = _call(direction, data, weight, shape, args[4:10], layout)
        own: list[int] = []
        if direction == "dgrad":
            recorder.track(output, str(func))
            own = recorder.dense_copy(weight, layout)
        if copied_in_each:
            own += recorder.dense_copy(grad_output, layout)
        if direction == "wgrad":
            recorder.track(output, str(func))
        recorder.scratch(0, f"{direction} convolution", Category.WORKSPACE, call)
        recorder.release(*own)
    # The backend's copies are gone when the bias's gradient is summed (Convolution.cpp).
    recorder.release(*held)
    if outputs[2] is not None:
        recorder.track(outputs[2], str(func))
        sum_over(recorder, grad_output, [0, *range(2, grad_output.dim())], str(func))
    return (*results, outputs[2])
