"""mmcv's own convolutions and attention: what their C++ allocates beside the outputs.

Deformable convolutions copy each sample's windows into columns and multiply those. Where everything
has values, so do their outputs; their gradients have none.

Sparse convolutions are spconv 1's: indice pairs, gather buffers, pooling. Pairs are [kernel volume,
2, N] int32: rows of inputs and of outputs, as many as `counts` says of each offset. Checked against
csrc of mmcv 2.1: the table of cells is dense, and the coordinates of the outputs are a slice of
room for every offset of every input, which stays as long as they do.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.state import current
from bevdiag.source.stubs.compiled import Op, array
from bevdiag.sparse.coordinates import Geometry, matching_pairs, output_coordinates

_NOWHERE = np.iinfo(np.int32).max
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


def deform_forward(
    x: Tensor, weight: Tensor, offset: Tensor, output: Tensor, *_: Tensor, **sizes: Any
) -> None:
    """DCNv1: the columns of `im2col_step` samples, and the output once more in their order."""
    _multiply_columns(x, sizes, output)
    _compute(x, weight, offset, None, output, sizes)


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


def indice_pairs(
    indices: Tensor,
    batch_size: int,
    out_shape: Sequence[int],
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    out_padding: Sequence[int],
    submanifold: int,
    transposed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates [N, 1 + axes] to those of the outputs, the pairs and their counts."""
    edges, steps, margins, gaps, extra = map(
        tuple, (kernel, stride, padding, dilation, out_padding)
    )
    geometry = Geometry(edges, steps, margins, gaps, extra, bool(submanifold), bool(transposed))
    volume, num = geometry.kernel_volume, len(indices)
    pairs = indices.new_full((volume, 2, num), -1, dtype=torch.int32)
    counts = indices.new_zeros(volume, dtype=torch.int32)
    grid = torch.empty(batch_size * math.prod(out_shape), dtype=torch.int32, device="meta")
    unique = indices.new_full((pairs.numel() // 2 + 1,), _NOWHERE, dtype=torch.int32)
    outputs, found = indices, None
    if not submanifold:
        cells = output_coordinates(array(indices), shape, geometry)
        room = indices.new_zeros((num * volume, len(kernel) + 1), dtype=torch.int32)
        array(unique)[: len(cells)] = np.ravel_multi_index(tuple(cells.T), (batch_size, *out_shape))
        found = torch._unique(unique)[0]
        outputs = room[: len(cells)]
        array(outputs)[...] = cells
    table, count = array(pairs), array(counts)
    met = matching_pairs(array(indices), array(outputs), shape, geometry)
    for place, (inputs, rows) in enumerate(met):
        table[place, 0, : len(inputs)], table[place, 1, : len(inputs)] = inputs, rows
        count[place] = len(inputs)
    del grid, unique, found
    return outputs, pairs, counts


def convolve(
    features: Tensor,
    filters: Tensor,
    pairs: Tensor,
    counts: Tensor,
    num_out: int,
    inverse: int,
    submanifold: int,
) -> Tensor:
    """Features [N, C] to [num_out, C']: gathered, multiplied and scattered offset by offset."""
    features = current().valueless(features)
    channels, out_channels = features.shape[1], filters.shape[-1]
    most = int(array(counts).max(initial=0))
    output = features.new_zeros((num_out, out_channels))
    buffers = features.new_zeros((most, channels)), features.new_zeros((most, out_channels))
    current().recorder.gemm("indice convolution")
    if not (features.is_meta or filters.is_meta):
        weights = array(filters).reshape(-1, channels, out_channels)
        for place, inputs, outputs in _by_offset(pairs, counts, bool(inverse)):
            # A pair of one offset has an output of its own.
            array(output)[outputs] += array(features)[inputs] @ weights[place]
    del buffers
    return output


def convolve_backward(
    features: Tensor,
    filters: Tensor,
    grad: Tensor,
    pairs: Tensor,
    counts: Tensor,
    inverse: int,
    submanifold: int,
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of features and filters, through the same buffers."""
    features = current().valueless(features)
    most = int(array(counts).max(initial=0))
    of_input, of_filters = torch.zeros_like(features), torch.zeros_like(filters)
    buffers = (
        features.new_zeros((most, features.shape[1])),
        features.new_zeros((most, filters.shape[-1])),
    )
    current().recorder.gemm("indice convolution")
    del buffers
    return of_input, of_filters


def pool(features: Tensor, pairs: Tensor, counts: Tensor, num_out: int) -> Tensor:
    """Pool to the largest features of each output's inputs, or 0: [num_out, C]."""
    features = current().valueless(features)
    output = features.new_zeros((num_out, features.shape[1]))
    if not features.is_meta:
        for _, inputs, outputs in _by_offset(pairs, counts, inverse=False):
            np.maximum.at(array(output), outputs, array(features)[inputs])
    return output


def pool_backward(features: Tensor, output: Tensor, grad: Tensor, *_: Any) -> Tensor:
    """Compute the gradient of the features."""
    return torch.zeros_like(features)


def _by_offset(pairs: Tensor, counts: Tensor, inverse: bool) -> Any:
    table = array(pairs)
    for place, count in enumerate(array(counts).tolist()):
        rows = table[place, :, :count]
        if count:
            yield place, rows[int(inverse)], rows[int(not inverse)]


OPS: dict[str, Op] = {
    "modulated_deform_conv_forward": modulated_forward,
    # Sample by sample through the same columns.
    "modulated_deform_conv_backward": lambda x, *_, **sizes: _multiply_columns(x, sizes),
    "deform_conv_forward": deform_forward,
    "deform_conv_backward_input": lambda x, *_, **sizes: _multiply_columns(
        x, sizes, with_ones=False
    ),
    # The output's gradient is copied into the columns' order.
    "deform_conv_backward_parameters": lambda x, offset, grad_output, *_, **sizes: (
        _multiply_columns(x, sizes, grad_output, with_ones=False)
    ),
    "ms_deform_attn_forward": attention_forward,
    "ms_deform_attn_backward": lambda *_, **__: 1,
    **{f"get_indice_pairs_{axes}d_forward": indice_pairs for axes in (2, 3, 4)},
    "indice_conv_forward": convolve,
    "indice_conv_backward": convolve_backward,
    "indice_maxpool_forward": pool,
    "indice_maxpool_backward": pool_backward,
}
"""By their names in mmcv's extension."""
