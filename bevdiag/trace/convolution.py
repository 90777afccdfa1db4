"""Convolutions as the GPU runs them: the workspace between the outputs, in the real order.

Which backend runs and how much it asks for is the target's business (memory/); the trace only
says where in the stream the question comes up. Source: aten/src/ATen/native/cudnn/ConvShared.cpp.
"""

from typing import TYPE_CHECKING, Any

import torch

from bevdiag.memory.events import Category, ConvCall

if TYPE_CHECKING:
    from bevdiag.trace.recorder import Recorder


def _workspace(recorder: "Recorder", call: ConvCall) -> None:
    recorder.release(
        recorder.temporary(0, f"{call.direction} convolution", Category.WORKSPACE, call)
    )


def _is_channels_last(tensor: torch.Tensor) -> bool:
    return (
        tensor.dim() == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def _copy_in_format(
    recorder: "Recorder", tensor: torch.Tensor, data: torch.Tensor, weight: torch.Tensor
) -> list[int]:
    """A copy for the length of the call, if the tensor is not laid out as the backend works.

    That is channels-last where input or weight are, and plain where neither is, whatever the
    gradient's own layout: one that comes through a permutation is copied.
    """
    works_channels_last = _is_channels_last(data) or _is_channels_last(weight)
    layout = torch.channels_last if works_channels_last else torch.contiguous_format
    if tensor.is_contiguous(memory_format=layout):
        return []
    nbytes = tensor.numel() * tensor.element_size()
    return [recorder.temporary(nbytes, "aten.contiguous")]


def _call(
    direction: str,
    data: torch.Tensor,
    weight: torch.Tensor,
    output_shape: tuple[int, ...],
    geometry: tuple[Any, ...],
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
        channels_last=_is_channels_last(data),
    )


def forward(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """aten.convolution(input, weight, bias, stride, padding, dilation, transposed, ..., groups)."""
    args, kwargs = recorder.on_one_lane(args, kwargs)
    data, weight = args[:2]
    copies = _copy_in_format(recorder, data, data, weight)
    output = func(*args, **kwargs)
    recorder.track(output, str(func))
    _workspace(recorder, _call("forward", data, weight, tuple(output.shape), args[3:]))
    for block in copies:
        recorder.release(block)
    return output


def backward(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """aten.convolution_backward(grad_output, input, weight, bias_sizes, ..., output_mask)."""
    args, kwargs = recorder.on_one_lane(args, kwargs)
    grad_output, data, weight, _ = args[:4]
    geometry = args[4:10]
    copies = _copy_in_format(recorder, grad_output, data, weight)
    outputs = func(*args, **kwargs)
    for output, direction in zip(outputs[:2], ("dgrad", "wgrad"), strict=True):
        if output is not None:
            recorder.track(output, str(func))
            shape = tuple(grad_output.shape)
            _workspace(recorder, _call(direction, data, weight, shape, geometry))
    if outputs[2] is not None:
        recorder.track(outputs[2], str(func))
    for block in copies:
        recorder.release(block)
    return outputs
