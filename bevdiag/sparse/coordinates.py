"""Which cells a sparse convolution fills, and which input meets which output, computed exactly.

Coordinates are int32 [N, 1 + axes]: sample, then z, y, x (or y, x). An input at x meets the output
at o under offset k where, on every axis,

    regular:      o * stride - padding + k * dilation == x
    transposed:   x * stride - padding + k * dilation == o
    submanifold:  as regular, with stride 1 and padding (kernel_size // 2) * dilation

and o lies in the output grid; these are spconv's rules (csrc/sparse/indices.py).
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bevdiag.sparse.geometry import Geometry

Coordinates: TypeAlias = NDArray[np.int32]
Keys: TypeAlias = NDArray[np.int64]
Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]

_NOWHERE = -1


def output_coordinates(
    coordinates: Coordinates, spatial_shape: Sequence[int], geometry: Geometry
) -> Coordinates:
    """The cells that at least one input reaches, each once: int32 [M, 1 + axes], in grid order.

    The window is a product of axes, so the cells are found axis by axis and repeats dropped after
    each one: the work stays near the number of distinct cells, not N times the kernel volume.

    Raises:
        ValueError: a coordinate lies outside the grid.
    """
    out_shape = geometry.output_shape(spatial_shape)
    _check_inside(coordinates, spatial_shape)
    # One radix for both grids lets an axis be exchanged in the key while the others stay.
    radix = [max(pair) for pair in zip(spatial_shape, out_shape, strict=True)]
    keys = _keys(coordinates, radix)
    weight = 1
    for axis in reversed(range(len(radix))):
        reached = _reached(axis, spatial_shape[axis], out_shape[axis], geometry)
        position = keys // weight % radix[axis]
        moved = []
        for row in _packed(reached):
            target = row[position]
            valid = target != _NOWHERE
            moved.append(keys[valid] + (target[valid] - position[valid]) * weight)
        keys = _distinct(np.concatenate(moved))
        weight *= radix[axis]
    return _coordinates(keys, radix)


def matching_pairs(
    coordinates: Coordinates,
    outputs: Coordinates,
    spatial_shape: Sequence[int],
    geometry: Geometry,
) -> list[Pairs]:
    """For each offset of the window: rows of the inputs and of the outputs that meet under it."""
    out_shape = geometry.output_shape(spatial_shape)
    out_keys = _keys(outputs, out_shape)
    order = np.argsort(out_keys)
    sorted_keys = out_keys[order]
    axes = range(len(out_shape))
    tables = [_reached(axis, spatial_shape[axis], out_shape[axis], geometry) for axis in axes]
    pairs = []
    for offset in geometry.offsets():
        target = np.empty(coordinates.shape, np.int64)
        target[:, 0] = coordinates[:, 0]
        for axis in axes:
            target[:, 1 + axis] = tables[axis][offset[axis]][coordinates[:, 1 + axis]]
        inputs = np.flatnonzero((target[:, 1:] != _NOWHERE).all(axis=1))
        wanted = _keys(target[inputs], out_shape)
        place = np.searchsorted(sorted_keys, wanted)
        found = place < len(sorted_keys)
        found[found] = sorted_keys[place[found]] == wanted[found]
        pairs.append((inputs[found], order[place[found]]))
    return pairs


def _reached(axis: int, size: int, out_size: int, geometry: Geometry) -> NDArray[np.int64]:
    """[kernel_size, size]: where each offset takes each input position, -1 for nowhere."""
    kernel, dilation = geometry.kernel_size[axis], geometry.dilation[axis]
    stride, padding = geometry.stride[axis], geometry.padding[axis]
    if geometry.subm:
        stride, padding = 1, kernel // 2 * dilation
    position = np.arange(size)[None, :]
    shift = np.arange(kernel)[:, None] * dilation
    if geometry.transposed:
        target = position * stride - padding + shift
        fits = np.ones(target.shape, dtype=bool)
    else:
        target, rest = np.divmod(position + padding - shift, stride)
        fits = rest == 0
    return np.where(fits & (target >= 0) & (target < out_size), target, _NOWHERE)


def _packed(reached: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same targets in as few rows as any position needs: a stride of 2 leaves 2 rows of 3."""
    rows = int((reached != _NOWHERE).sum(axis=0).max(initial=0))
    return -np.sort(-reached, axis=0)[: max(rows, 1)]


def _keys(coordinates: NDArray[np.int32] | NDArray[np.int64], shape: Sequence[int]) -> Keys:
    keys = coordinates[:, 0].astype(np.int64)
    for axis, size in enumerate(shape, start=1):
        keys = keys * size + coordinates[:, axis]
    return keys


def _coordinates(keys: Keys, shape: Sequence[int]) -> Coordinates:
    coordinates = np.empty((len(keys), 1 + len(shape)), np.int32)
    for axis in reversed(range(len(shape))):
        keys, coordinates[:, 1 + axis] = np.divmod(keys, shape[axis])
    coordinates[:, 0] = keys
    return coordinates


def _distinct(keys: Keys) -> Keys:
    keys = np.sort(keys)
    first = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    distinct: Keys = keys[first]
    return distinct


def _check_inside(coordinates: Coordinates, spatial_shape: Sequence[int]) -> None:
    for axis, size in enumerate(spatial_shape, start=1):
        column = coordinates[:, axis]
        if len(column) and (column.min() < 0 or column.max() >= size):
            raise ValueError(
                f"coordinates on axis {axis - 1} run from {column.min()} to {column.max()}, but "
                f"spatial_shape {list(spatial_shape)} ends at {size - 1}: are the axes z, y, x?"
            )
