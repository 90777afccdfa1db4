"""How many voxels the focal encoder keeps, from coordinates and decisions alone.

The encoder splits a sample's voxels into foreground and background, lets every foreground voxel
spawn those of its 26 neighbours that are on, and merges what coincides, twice: within the
foreground, then foreground with background. The decisions depend on feature values; once they are
known, the rest is integer work that this module repeats exactly, oddities included:

- a spawned voxel is dropped unless 0 < coordinate < extent, so none lands on a plane 0;
- voxels coincide when (z * max_y + y) * max_x + x is equal, with the largest coordinates where the
  extents should stand: (z, y, max_x) and (z, y + 1, 0) are taken for one voxel;
- while spawned coordinates are float32, the sort that brings equal voxels together sees that key
  in float32: above 2^24 it may leave equal voxels apart, and they stay separate.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Coords = NDArray[np.int32]
Mask = NDArray[np.bool_]
Keys = NDArray[np.int32] | NDArray[np.int64]

OFFSETS: Coords = np.array(
    [
        (z, y, x)
        for z in (-1, 0, 1)
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
        if (z, y, x) != (0, 0, 0)
    ],
    np.int32,
)
"""The 26 neighbours in the order of the importance convolution's channels; z, y, x."""

_EXACT_IN_FLOAT32 = 2**24
_LARGEST_TABLE = 2**26


@dataclass(frozen=True, slots=True, eq=False)
class FocalDecision:
    """What the encoder decides by value, for the N voxels of a whole batch.

    Attributes:
        fore_mask: [N], which voxels are foreground.
        kernel_mask: [N, 26], which neighbours are on; rows of background voxels do not matter.
        grown: the coordinates that `grow` was asked about, with its answers.
    """

    fore_mask: Mask
    kernel_mask: Mask
    grown: "list[tuple[Coords, Growth]]" = field(default_factory=list)

    def __reduce__(self) -> tuple[object, ...]:
        # What it leads to is sooner found again than sent.
        return FocalDecision, (self.fore_mask, self.kernel_mask)


@dataclass(frozen=True, slots=True, eq=False)
class SampleGrowth:
    """One sample's way through the encoder, n of its voxels being foreground.

    Attributes:
        fore: [N_sample], which voxels are foreground.
        neighbours: [n, 26], which neighbours of the foreground are on.
        inside: one entry for each neighbour that is on: whether it lies inside the grid.
        num_fore: foreground voxels after merging.
        num_kept: voxels after merging with the background.
    """

    fore: Mask
    neighbours: Mask
    inside: Mask
    num_fore: int
    num_kept: int


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """A batch's way through the encoder; `coords` are the kept voxels [K, 4], in no set order."""

    samples: tuple[SampleGrowth, ...]
    coords: Coords


def grow(
    coords: Coords, decision: FocalDecision, spatial_shape: tuple[int, int, int], batch_size: int
) -> Growth:
    """Follow the encoder's split, dilation and merging.

    Args:
        coords: [N, 4]: sample, z, y, x.
        decision: for the same N voxels.
        spatial_shape: extents z, y, x.
        batch_size: number of samples.
    """
    for known, growth in decision.grown:
        if np.array_equal(known, coords):
            return growth
    growth = _grow(coords, decision, spatial_shape, batch_size)
    decision.grown.append((coords.copy(), growth))
    return growth


def _grow(
    coords: Coords, decision: FocalDecision, spatial_shape: tuple[int, int, int], batch_size: int
) -> Growth:
    rows = [np.flatnonzero(coords[:, 0] == sample) for sample in range(batch_size)]
    zyx = coords[:, 1:]
    splits = [_split(zyx[r], _rows_of(decision, r), spatial_shape) for r in rows]
    # One sample whose foreground needs no merging keeps float32 coordinates; joined with the
    # others', they make the whole batch's float32.
    in_float32 = any(len(merged) == count for merged, count, *_ in splits)
    samples, kept = [], []
    for sample, (merged, _, fore, neighbours, inside) in enumerate(splits):
        joined = np.concatenate((merged, zyx[rows[sample]][~fore]))
        final = joined[_merge(joined, in_float32=in_float32, keep_first=False)]
        samples.append(SampleGrowth(fore, neighbours, inside, len(merged), len(final)))
        kept.append(np.insert(final, 0, sample, axis=1))
    return Growth(tuple(samples), np.concatenate(kept))


def count(
    coords: Coords, decision: FocalDecision, spatial_shape: tuple[int, int, int], batch_size: int
) -> int:
    """Count the voxels that the encoder keeps."""
    return len(grow(coords, decision, spatial_shape, batch_size).coords)


def spawned_cells(
    coords: Coords, fore: Mask, spatial_shape: tuple[int, int, int]
) -> tuple[NDArray[np.int64], Coords]:
    """Find the distinct cells that the foreground's neighbours open where no voxel is.

    Returns:
        For each cell one neighbour that opens it, as a flat index into [N, 26], and its
        coordinates [cells, 4].
    """
    flat, cells = neighbour_cells(coords, fore, spatial_shape)
    first = opening(coords, cells, spatial_shape)
    return flat[first], cells[first]


def opening(
    coords: Coords, cells: Coords, spatial_shape: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Find the indices of the cells, ascending, that no voxel and no earlier cell holds."""
    every = np.concatenate((coords, cells))
    samples = 1 + every[:, 0].max(initial=0)
    keys = np.ravel_multi_index(tuple(every.T), (samples, *spatial_shape))
    first = _representatives(keys, keep_first=True) - len(coords)
    return first[first >= 0]


def neighbour_cells(
    coords: Coords, fore: Mask, spatial_shape: tuple[int, int, int]
) -> tuple[NDArray[np.int64], Coords]:
    """All of the foreground's neighbours that lie inside the grid.

    Returns:
        Flat indices into [N, 26], ascending, and the neighbours' coordinates [cells, 4].
    """
    rows = np.flatnonzero(fore)
    cells = coords[rows][:, None] + np.insert(OFFSETS, 0, 0, axis=1)
    flat = (rows[:, None] * len(OFFSETS) + np.arange(len(OFFSETS))).ravel()
    cells = cells.reshape(-1, 4)
    inside = _inside(cells[:, 1:], spatial_shape)
    return flat[inside], cells[inside]


def first_of_each_sample(coords: Coords, rank: NDArray[Any], share: float) -> Mask:
    """Mask [N] of the share of each sample's voxels that is lowest in `rank`, ties in order."""
    chosen = np.zeros(len(coords), bool)
    for sample in np.unique(coords[:, 0]):
        rows = np.flatnonzero(coords[:, 0] == sample)
        order = np.argsort(rank[rows], kind="stable")
        chosen[rows[order[: int(len(rows) * share)]]] = True
    return chosen


def _rows_of(decision: FocalDecision, rows: NDArray[np.int64]) -> FocalDecision:
    return FocalDecision(decision.fore_mask[rows], decision.kernel_mask[rows])


def _split(
    zyx: Coords, decision: FocalDecision, shape: tuple[int, int, int]
) -> tuple[Coords, int, Mask, Mask, Mask]:
    """Return the merged foreground, its size before merging, and the masks of `SampleGrowth`."""
    fore = decision.fore_mask
    neighbours = decision.kernel_mask[fore]
    origin = zyx[fore]
    voxel, offset = np.nonzero(neighbours)
    spawned = origin[voxel] + OFFSETS[offset]
    inside = _inside(spawned, shape)
    grown = np.concatenate((origin, spawned[inside]))
    merged = grown[_merge(grown, in_float32=True, keep_first=True)]
    return merged, len(grown), fore, neighbours, inside


def _inside(zyx: Coords, shape: tuple[int, int, int]) -> Mask:
    inside = (zyx[:, 0] > 0) & (zyx[:, 0] < shape[0])
    for axis in (1, 2):
        inside &= (zyx[:, axis] > 0) & (zyx[:, axis] < shape[axis])
    return inside


def _merge(zyx: Coords, *, in_float32: bool, keep_first: bool) -> NDArray[np.int64]:
    """Which rows survive merging: the first or last of each run of equal keys after the sort."""
    if not len(zyx):
        return np.empty(0, np.int64)
    max_y, max_x = zyx[:, 1].max(), zyx[:, 2].max()
    wide = zyx.astype(np.int64)
    exact = (wide[:, 0] * max_y + wide[:, 1]) * max_x + wide[:, 2]
    key = exact.astype(np.int32)
    rounded = exact >= _EXACT_IN_FLOAT32
    if not in_float32 or not rounded.any():
        return _representatives(key, keep_first=keep_first)
    low, high = np.flatnonzero(~rounded), np.flatnonzero(rounded)
    survivors = (
        low[_representatives(key[low], keep_first=keep_first)],
        high[_run_ends(zyx[high], key[high], max_y, max_x, keep_first=keep_first)],
    )
    return np.concatenate(survivors)


def _run_ends(
    zyx: Coords, key: NDArray[np.int32], max_y: np.int32, max_x: np.int32, *, keep_first: bool
) -> NDArray[np.int64]:
    z, y, x = zyx.T.astype(np.float32)
    seen = z * np.float32(max_y) * np.float32(max_x) + y * np.float32(max_x) + x
    return _ends_of_runs(key, np.argsort(seen, kind="stable"), keep_first=keep_first)


def _ends_of_runs(key: Keys, order: NDArray[np.int64], *, keep_first: bool) -> NDArray[np.int64]:
    """Return the first (or last) entry of `order` in each run of equal keys."""
    changes = key[order][1:] != key[order][:-1]
    is_end = np.append(True, changes) if keep_first else np.append(changes, True)
    ends: NDArray[np.int64] = order[is_end]
    return ends


def _representatives(key: Keys, *, keep_first: bool) -> NDArray[np.int64]:
    """Find the first (or last) occurrence of each distinct key; indices, ascending."""
    if not len(key):
        return np.empty(0, np.int64)
    low, high = int(key.min()), int(key.max())
    if high - low >= _LARGEST_TABLE:
        order = np.argsort(key, kind="stable")
        return np.sort(_ends_of_runs(key, order, keep_first=keep_first))
    place = key - low
    position = np.arange(len(key), dtype=np.int32)
    # Only slots that are written are read again, so the table needs no initial value. NumPy's
    # assignment leaves the last of several values for one slot.
    table = np.empty(high - low + 1, np.int32)
    if keep_first:
        table[place[::-1]] = position[::-1]
    else:
        table[place] = position
    return np.flatnonzero(table[place] == position)
