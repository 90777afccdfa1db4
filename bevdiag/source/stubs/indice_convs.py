"""mmcv's own sparse convolutions, which are spconv 1's: indice pairs, gather buffers, pooling.

Pairs are [kernel volume, 2, N] int32: rows of inputs and of outputs, as many as `counts` says of
each offset. Checked against csrc of mmcv 2.1: the table of cells is dense, and the coordinates of
the outputs are a slice of room for every offset of every input, which stays as long as they do.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bevdiag.source.state import current
from bevdiag.source.stubs.arrays import Op, array
from bevdiag.sparse.coordinates import Geometry, matching_pairs, output_coordinates

_NOWHERE = np.iinfo(np.int32).max


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
    **{f"get_indice_pairs_{axes}d_forward": indice_pairs for axes in (2, 3, 4)},
    "indice_conv_forward": convolve,
    "indice_conv_backward": convolve_backward,
    "indice_maxpool_forward": pool,
    "indice_maxpool_backward": pool_backward,
}
"""By their names in mmcv's extension."""
