"""A convolution's window, the cells it fills, and which input meets which output, exactly.

Coordinates are int32 [N, 1 + axes]: sample, then z, y, x (or y, x). An input at x meets the output
at o under offset k where, on every axis,

    regular:      o * stride - padding + k * dilation == x
    transposed:   x * stride - padding + k * dilation == o
    submanifold:  as regular, with stride 1 and padding (kernel_size // 2) * dilation

and o lies in the output grid; these are spconv's rules (csrc/sparse/indices.py).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Coordinates: TypeAlias = NDArray[np.int32]
Column: TypeAlias = NDArray[np.int32]
Keys: TypeAlias = NDArray[np.int64]
Tables: TypeAlias = Sequence[NDArray[np.int64]]
Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]

_NOWHERE = -1
_BELOW_ALL_KEYS = -(2**60)
_MOST_ANSWERS = 8
"""More than any backbone has layers that ask."""
_answers: dict[tuple[object, ...], Coordinates] = {}
_MOST_MARKED_CELLS = 2**27
"""Up to so many cells a sample, marking them in one byte each beats sorting their keys."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution's window; every tuple has an entry an axis, in the order of the coordinates.

    A submanifold convolution (`subm`) keeps its input's coordinates: it ignores stride and padding
    and centres the window.

    Raises:
        ValueError: a submanifold window has an even edge, and so no centre.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    subm: bool = False
    transposed: bool = False

    def __post_init__(self) -> None:
        if self.subm and not all(size % 2 for size in self.kernel_size):
            raise ValueError(
                f"a submanifold convolution needs odd kernel sizes, found {list(self.kernel_size)}"
            )

    @property
    def kernel_volume(self) -> int:
        """Offsets in the window."""
        return math.prod(self.kernel_size)

    def offsets(self) -> Iterator[tuple[int, ...]]:
        """Every offset of the window, in the order of the weight's kernel axes."""
        return product(*map(range, self.kernel_size))

    def output_shape(self, spatial_shape: Sequence[int]) -> list[int]:
        """Return the grid that comes out of a grid.

        Raises:
            ValueError: an axis shrinks to nothing.
        """
        if self.subm:
            return list(spatial_shape)
        window = (self.kernel_size, self.stride, self.padding, self.dilation, self.output_padding)
        axes = zip(spatial_shape, *window, strict=True)
        if self.transposed:
            # spconv leaves the dilation out here, unlike torch.nn.ConvTranspose3d.
            shape = [(n - 1) * s - 2 * p + k + extra for n, k, s, p, _, extra in axes]
        else:
            shape = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in axes]
        if min(shape) <= 0:
            raise ValueError(
                f"the out spatial shape {shape} reaches zero: input shape {list(spatial_shape)}, "
                f"{self.describe()}"
            )
        return shape

    def most_outputs(self, num_in: int) -> int:
        """Return a bound on the output coordinates, by which spconv sizes its hash table."""
        if self.transposed:
            return num_in * self.kernel_volume
        steps = zip(self.kernel_size, self.stride, strict=True)
        return num_in * math.prod(-(-k // s) if k > s else 1 for k, s in steps)

    def describe(self) -> str:
        """Describe the window in words, for error messages."""
        return (
            f"kernel_size {list(self.kernel_size)}, stride {list(self.stride)}, "
            f"padding {list(self.padding)}, dilation {list(self.dilation)}"
        )


def output_coordinates(
    coordinates: Coordinates, spatial_shape: Sequence[int], geometry: Geometry
) -> Coordinates:
    """Return the cells that some input reaches, each once: int32 [M, 1 + axes], in grid order.

    Every step of a trace asks for the same cells, and so do many variants of a config: the last
    answers are kept, read-only.

    Raises:
        ValueError: a coordinate lies outside the grid.
    """
    check_inside(coordinates, spatial_shape)
    content = blake2b(np.ascontiguousarray(coordinates).data, digest_size=16).digest()
    question = (content, tuple(spatial_shape), geometry)
    cells = _answers.pop(question, None)
    if cells is None:
        out_shape = geometry.output_shape(spatial_shape)
        axes = range(len(out_shape))
        tables = [_packed(_reached(a, spatial_shape[a], out_shape[a], geometry)) for a in axes]
        cells = _coordinates(_cells_reached(coordinates, tables, out_shape), out_shape)
        cells.flags.writeable = False
    _answers[question] = cells
    if len(_answers) > _MOST_ANSWERS:
        del _answers[next(iter(_answers))]
    return cells


def _cells_reached(coordinates: Coordinates, tables: Tables, shape: Sequence[int]) -> Keys:
    """Return the distinct keys of the cells that are reached, in order."""
    samples, *positions = coordinates.T
    cells = math.prod(shape)
    if cells > _MOST_MARKED_CELLS:
        first = samples.astype(np.int64)
        distinct: Keys = np.unique(
            np.concatenate([*_keys_reached(first, positions, tables, shape)])
        )
        return distinct
    found = [np.empty(0, np.int64)]
    for sample in np.unique(samples):
        mine = samples == sample
        inside = [column[mine] for column in positions]
        first = np.zeros(len(inside[0]), np.int64)
        marks = np.zeros(cells, dtype=bool)
        for keys in _keys_reached(first, inside, tables, shape):
            marks[keys] = True
        found.append(np.flatnonzero(marks) + int(sample) * cells)
    return np.concatenate(found)


def _keys_reached(
    keys: Keys, positions: Sequence[Column], tables: Tables, shape: Sequence[int]
) -> Iterator[Keys]:
    """Return the keys of all cells that these inputs reach, with repeats, an offset at a time.

    `keys` are those of the axes before `positions`; inputs that leave the grid are dropped early.
    """
    if not tables:
        yield keys
        return
    for row in tables[0]:
        target = row[positions[0]]
        valid = target != _NOWHERE
        further = keys[valid] * shape[0] + target[valid]
        rest = [column[valid] for column in positions[1:]]
        yield from _keys_reached(further, rest, tables[1:], shape[1:])


def matching_pairs(
    coordinates: Coordinates,
    outputs: Coordinates,
    spatial_shape: Sequence[int],
    geometry: Geometry,
) -> list[Pairs]:
    """For each offset of the window: rows of the inputs and of the outputs that meet under it.

    Raises:
        ValueError: a coordinate lies outside the grid.
    """
    check_inside(coordinates, spatial_shape)
    out_shape = geometry.output_shape(spatial_shape)
    out_keys = _keys(outputs, out_shape)
    order = np.argsort(out_keys)
    sorted_keys = out_keys[order]
    samples = coordinates[:, 0].astype(np.int64) * math.prod(out_shape)
    shares = _key_shares(coordinates, spatial_shape, out_shape, geometry)
    # Between the same voxels, an offset has the pairs of its opposite with the sides exchanged.
    mirrored = geometry.subm and all(size % 2 for size in geometry.kernel_size)
    offsets = list(geometry.offsets())
    pairs: list[Pairs] = []
    for offset in offsets[: len(offsets) // 2 + 1] if mirrored else offsets:
        wanted = samples.copy()
        for axis, position in enumerate(offset):
            wanted += shares[axis][position]
        inputs = np.flatnonzero(wanted >= 0)
        wanted = wanted[inputs]
        place = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
        found = sorted_keys[place] == wanted
        pairs.append((inputs[found], order[place[found]]))
    if mirrored:
        pairs += [(outputs, inputs) for inputs, outputs in reversed(pairs[:-1])]
    return pairs


def _key_shares(
    coordinates: Coordinates,
    spatial_shape: Sequence[int],
    out_shape: Sequence[int],
    geometry: Geometry,
) -> list[Keys]:
    """For each axis [kernel_size, N]: what it adds to the key of the cell that an input reaches.

    One that reaches none gets a number so low that the key is negative whatever else is added.
    """
    shares = []
    for axis, size in enumerate(out_shape):
        table = _reached(axis, spatial_shape[axis], size, geometry)
        share = np.where(
            table == _NOWHERE, _BELOW_ALL_KEYS, table * math.prod(out_shape[axis + 1 :])
        )
        shares.append(share[:, coordinates[:, 1 + axis]])
    return shares


def count_pairs(coordinates: Coordinates, spatial_shape: Sequence[int], geometry: Geometry) -> int:
    """How many pairs of an input and an output meet under all offsets together.

    A regular or transposed convolution fills every cell that an offset reaches, so its pairs are
    the reached cells; a submanifold one has those whose other end is a voxel, and an offset as many
    as its opposite.
    """
    out_shape = geometry.output_shape(spatial_shape)
    axes = range(len(out_shape))
    tables = [_reached(axis, spatial_shape[axis], out_shape[axis], geometry) for axis in axes]
    if not geometry.subm:
        reached = np.ones(len(coordinates), np.int64)
        for axis in axes:
            reached *= (tables[axis] != _NOWHERE).sum(axis=0)[coordinates[:, 1 + axis]]
        return int(reached.sum())
    return _count_neighbours(coordinates, spatial_shape, geometry)


def _count_neighbours(
    coordinates: Coordinates, spatial_shape: Sequence[int], geometry: Geometry
) -> int:
    # Rows with a margin: a step over the edge then ends where no voxel can be, not in the next row.
    reach = [k // 2 * d for k, d in zip(geometry.kernel_size, geometry.dilation, strict=True)]
    radix = [size + margin for size, margin in zip(spatial_shape, reach, strict=True)]
    keys = np.sort(_keys(coordinates, radix))
    offsets = list(geometry.offsets())
    steps = []
    for offset in offsets[: len(offsets) // 2]:
        step = 0
        for axis, size in enumerate(radix):
            step = step * size + offset[axis] * geometry.dilation[axis] - reach[axis]
        steps.append(step)
    met = 0
    farthest = min(steps, default=0)
    if len(keys) and keys[-1] - farthest < _MOST_MARKED_CELLS:
        keys -= farthest
        marks = np.zeros(keys[-1] + 1, bool)
        marks[keys] = True
        for step in steps:
            met += int(np.count_nonzero(marks[keys + step]))
    else:
        for step in steps:
            wanted = keys + step
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            met += int(np.count_nonzero(keys[place] == wanted))
    return len(keys) + 2 * met


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
    """Pack the targets in as few rows as any position needs: a stride of 2 leaves 2 rows of 3."""
    rows = int((reached != _NOWHERE).sum(axis=0).max(initial=0))
    return -np.sort(-reached, axis=0)[: max(rows, 1)]


def _keys(coordinates: NDArray[np.int32] | NDArray[np.int64], shape: Sequence[int]) -> Keys:
    keys = coordinates[:, 0].astype(np.int64)
    for axis, size in enumerate(shape, start=1):
        keys = keys * size + coordinates[:, axis]
    return keys


def _coordinates(keys: Keys, shape: Sequence[int]) -> Coordinates:
    samples = 1 + keys.max(initial=0) // math.prod(shape)
    return np.stack(np.unravel_index(keys, (samples, *shape)), axis=1).astype(np.int32)


def check_inside(
    coordinates: Coordinates, spatial_shape: Sequence[int], batch_size: int | None = None
) -> None:
    """Check that every coordinate is one of the grid's, and of a sample that there is.

    Raises:
        ValueError: one lies outside.
    """
    if not len(coordinates):
        return
    (first, *lowest), (last, *highest) = coordinates.min(axis=0), coordinates.max(axis=0)
    for axis, (size, low, high) in enumerate(zip(spatial_shape, lowest, highest, strict=True)):
        if low < 0 or high >= size:
            raise ValueError(
                f"coordinates on axis {axis} run from {low} to {high}, but spatial_shape "
                f"{list(spatial_shape)} ends at {size - 1}: are the axes z, y, x?"
            )
    if first < 0 or (batch_size is not None and last >= batch_size):
        held = "no sample is below 0" if batch_size is None else f"the batch has {batch_size}"
        raise ValueError(f"coordinates are of samples {first} to {last}, but {held}")
