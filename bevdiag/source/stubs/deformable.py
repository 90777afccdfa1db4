"""Deformable convolutions and attention: what their C++ allocates beside the outputs.

The convolutions copy each sample's windows into columns and multiply those, as the C++ of mmcv
does; no value of an output is computed.
"""

from typing import Any

import torch
from torch import Tensor

from bevdiag.source.state import current
from bevdiag.source.stubs.arrays import Op, fills_its_outputs


def _out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - (dilation * (kernel - 1) + 1)) // stride + 1


def modulated_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **sizes: Any,
) -> None:
    """DCNv2 on [B, C, H, W]: the columns of one sample after another, [C * kernel, out H * W]."""
    columns = _plane(x, ones, sizes, samples=1)
    _multiplied()
    del columns


def modulated_backward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    *_: Tensor,
    **sizes: Any,
) -> None:
    """Its gradients, sample by sample through the same columns."""
    columns = _plane(x, ones, sizes, samples=1)
    _multiplied()
    del columns


def deform_forward(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **sizes: Any,
) -> None:
    """DCNv1: the columns of `im2col_step` samples, and the output once more in their order."""
    columns = _plane(x, ones, sizes, samples=int(sizes["im2col_step"]))
    buffer = torch.zeros_like(output)
    _multiplied()
    del columns, buffer


def deform_backward_input(
    x: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **sizes: Any,
) -> None:
    """The gradients of input and offsets."""
    columns = _plane(x, None, sizes, samples=int(sizes["im2col_step"]))
    _multiplied()
    del columns


def deform_backward_parameters(
    x: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    **sizes: Any,
) -> None:
    """The gradient of the weights; the output's gradient is copied into the columns' order."""
    columns = _plane(x, None, sizes, samples=int(sizes["im2col_step"]))
    buffer = torch.zeros_like(grad_output)
    buffer = buffer.contiguous()
    _multiplied()
    del columns, buffer


def _plane(x: Tensor, ones: Tensor | None, sizes: dict[str, Any], *, samples: int) -> Tensor:
    """The columns; the plane of ones that multiplies the bias is made beside them."""
    height, width, channels = x.shape[2], x.shape[3], x.shape[1]
    if "kernel_h" in sizes:
        kernel = (sizes["kernel_h"], sizes["kernel_w"])
        stride, padding = (sizes["stride_h"], sizes["stride_w"]), (sizes["pad_h"], sizes["pad_w"])
        dilation = (sizes["dilation_h"], sizes["dilation_w"])
    else:
        kernel, stride = (sizes["kH"], sizes["kW"]), (sizes["dH"], sizes["dW"])
        padding = (sizes["padH"], sizes["padW"])
        dilation = (sizes["dilationH"], sizes["dilationW"])
    out = [
        _out_size(*args)
        for args in zip((height, width), kernel, stride, padding, dilation, strict=True)
    ]
    plane = None if ones is None else x.new_ones(out)
    columns = x.new_zeros((channels * kernel[0] * kernel[1], samples * out[0] * out[1]))
    del plane
    return columns


def _multiplied() -> None:
    """The columns are multiplied in place, which takes cuBLAS's workspace."""
    current().gpu.recorder.gemm("deformable convolution")


def attention_forward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    places: Tensor,
    weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention: value [B, N, heads, C] to [B, queries, heads * C]."""
    batch, _, heads, channels = value.shape
    return value.new_zeros((batch, places.shape[1], heads, channels)).view(
        batch, places.shape[1], heads * channels
    )


OPS: dict[str, Op] = {
    "modulated_deform_conv_forward": modulated_forward,
    "modulated_deform_conv_backward": modulated_backward,
    "deform_conv_forward": deform_forward,
    "deform_conv_backward_input": deform_backward_input,
    "deform_conv_backward_parameters": deform_backward_parameters,
    "ms_deform_attn_forward": attention_forward,
    "ms_deform_attn_backward": lambda *_, **__: fills_its_outputs(),
}
"""By their names in mmcv's extension."""
