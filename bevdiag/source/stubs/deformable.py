"""Deformable convolutions and attention: what their C++ allocates beside the outputs.

The convolutions copy each sample's windows into columns and multiply those, as the C++ of mmcv
does. Where everything has values, so do their outputs; their gradients have none.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.state import current
from bevdiag.source.stubs.arrays import Op

_WINDOWS = (
    (("kH", "kW"), ("dH", "dW"), ("padH", "padW"), ("dilationH", "dilationW")),
    tuple((f"{name}_h", f"{name}_w") for name in ("kernel", "stride", "pad", "dilation")),
)
"""What the sizes are called, along height and width: in DCNv1, and in DCNv2."""


def modulated_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    *_: Tensor,
    **sizes: Any,
) -> None:
    """DCNv2 on [B, C, H, W]: the columns of one sample after another."""
    _multiply_columns(x, sizes)
    _compute(x, weight, offset, mask, output, sizes)
    if sizes["with_bias"]:
        output += bias.view(1, -1, 1, 1)


def modulated_backward(x: Tensor, *_: Tensor, **sizes: Any) -> None:
    """Its gradients, sample by sample through the same columns."""
    _multiply_columns(x, sizes)


def deform_forward(
    x: Tensor, weight: Tensor, offset: Tensor, output: Tensor, *_: Tensor, **sizes: Any
) -> None:
    """DCNv1: the columns of `im2col_step` samples, and the output once more in their order."""
    _multiply_columns(x, sizes, output)
    _compute(x, weight, offset, None, output, sizes)


def deform_backward_input(x: Tensor, *_: Tensor, **sizes: Any) -> None:
    """Compute the gradients of input and offsets."""
    _multiply_columns(x, sizes, with_ones=False)


def deform_backward_parameters(
    x: Tensor, offset: Tensor, grad_output: Tensor, *_: Tensor, **sizes: Any
) -> None:
    """Compute the weights' gradient; the output's is copied into the columns' order."""
    _multiply_columns(x, sizes, grad_output, with_ones=False)


def _multiply_columns(
    x: Tensor, sizes: dict[str, Any], reordered: Tensor | None = None, *, with_ones: bool = True
) -> None:
    """Make the columns, [C * kernel, samples * out H * W], and multiply them in place.

    Beside them are the plane of ones that multiplies the bias, and what is `reordered` as they are.
    """
    kernel, *others = _window(sizes)
    axes = zip(x.shape[2:], kernel, *others, strict=True)
    out = [(n + 2 * p - (d * (k - 1) + 1)) // s + 1 for n, k, s, p, d in axes]
    samples = int(sizes.get("im2col_step", 1))
    plane = x.new_ones(out) if with_ones else None
    columns = x.new_zeros((x.shape[1] * kernel[0] * kernel[1], samples * out[0] * out[1]))
    del plane
    buffer = None if reordered is None else torch.zeros_like(reordered).contiguous()
    # The product takes cuBLAS's workspace.
    current().recorder.gemm("deformable convolution")
    del columns, buffer


def _window(sizes: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """Kernel, stride, padding and dilation, along the height and the width."""
    names = _WINDOWS["kernel_h" in sizes]
    return tuple((int(sizes[high]), int(sizes[wide])) for high, wide in names)


def _compute(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    output: Tensor,
    sizes: dict[str, Any],
) -> None:
    """Compute the output's values: each tap of the window sampled where its offset moves it."""
    if any(tensor.is_meta for tensor in (x, weight, offset, output)):
        return
    kernel, stride, padding, dilation = _window(sizes)
    batch, _, *out = output.shape
    groups, moved = int(sizes["group"]), int(sizes["deformable_group"])
    rows, columns = (torch.arange(n) * s - p for n, s, p in zip(out, stride, padding, strict=True))
    moves = offset.view(batch, moved, -1, 2, *out)
    taps = []
    for tap in range(kernel[0] * kernel[1]):
        y, x_ = divmod(tap, kernel[1])
        place = torch.stack(
            (
                columns.view(1, 1, 1, -1) + x_ * dilation[1] + moves[:, :, tap, 1],
                rows.view(1, 1, -1, 1) + y * dilation[0] + moves[:, :, tap, 0],
            ),
            dim=-1,
        )
        size = torch.tensor([max(x.shape[3] - 1, 1), max(x.shape[2] - 1, 1)])
        found = nn.functional.grid_sample(
            x.view(batch * moved, -1, *x.shape[2:]),
            (2 * place / size - 1).view(batch * moved, *out, 2),
            align_corners=True,
        ).view(batch, moved, -1, *out)
        if mask is not None:
            found = found * mask.view(batch, moved, -1, 1, *out)[:, :, tap]
        taps.append(found.view(batch, x.shape[1], -1))
    windows = torch.stack(taps, dim=2).view(batch, groups, -1, out[0] * out[1])
    output.copy_((weight.view(groups, len(weight) // groups, -1) @ windows).view(output.shape))


def attention_forward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    places: Tensor,
    weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention: value [B, N, heads, C] to [B, queries, heads * C]."""
    if not value.is_meta:
        raise NoVerdictError("multi-scale deformable attention has no values on the CPU")
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
    "ms_deform_attn_backward": lambda *_, **__: 1,
}
"""By their names in mmcv's extension."""
