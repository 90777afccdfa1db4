"""Decisions that keep a given number of voxels, for counts that a user pins, or most of all."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bevdiag.models.backbones_3d.focal_growth import (
    OFFSETS,
    Coords,
    FocalDecision,
    Mask,
    count,
    first_of_each_sample,
    neighbour_cells,
    opening,
    spawned_cells,
)

_SHUFFLE_SEED = 0


def decision_for_count(
    coords: Coords,
    target: int,
    spatial_shape: tuple[int, int, int],
    batch_size: int,
    *,
    top_share: float | None = None,
) -> FocalDecision:
    """Make a decision after which exactly `target` voxels are kept.

    All voxels are foreground (in top-k mode as many as it picks), and neighbours are on at even
    odds, spread over the scene: as in a real run, some open a cell, and some fall on one that is
    there already, which costs memory until they are merged.

    Args:
        coords: [N, 4]: sample, z, y, x.
        target: voxels to keep, of the whole batch.
        spatial_shape: extents z, y, x.
        batch_size: number of samples.
        top_share: FOCAL_THRESHOLD where FOCAL_TOPK is on, else None.

    Raises:
        ValueError: no such decision; the message names the interval.
    """
    fore = _foreground(coords, batch_size, top_share)
    order, opens = _order(coords, fore, spatial_shape)
    ends = np.append(opens, len(order))

    def decide(number: int) -> FocalDecision:
        kernel = np.zeros((len(coords), len(OFFSETS)), bool)
        kernel.flat[order[: ends[number]]] = True
        return FocalDecision(fore, kernel)

    def kept(number: int) -> int:
        return count(coords, decide(number), spatial_shape, batch_size)

    return decide(_search(kept, target, len(opens), len(coords)))


def _search(kept: Callable[[int], int], target: int, most: int, num_voxels: int) -> int:
    """How many cells to open, of `most`, so that `kept` says `target`."""
    low = kept(0)
    # Were it not for cells that the merging takes for one, every cell would add one voxel.
    number, below, above = target - low, 0, most
    if not 0 <= number <= above:
        raise ValueError(
            f"{target} kept voxels cannot be reached: this scene's {num_voxels} voxels grow to "
            f"{low} at least and {kept(above)} at most"
        )
    while (found := kept(number)) != target:
        if found < target:
            below = number
        else:
            above = number
        if above - below <= 1:
            raise ValueError(
                f"{target} kept voxels cannot be reached: with this scene {kept(below)} can, and "
                f"{kept(above)}"
            )
        number += target - found
        if not below < number < above:
            number = (below + above) // 2
    return number


def _foreground(coords: Coords, batch_size: int, top_share: float | None) -> Mask:
    fore = np.ones(len(coords), bool)
    if top_share is None:
        return fore
    rng = np.random.default_rng(_SHUFFLE_SEED)
    for sample in range(batch_size):
        rows = rng.permutation(np.flatnonzero(coords[:, 0] == sample))
        fore[rows[int(len(rows) * top_share) :]] = False
    return fore


def _order(
    coords: Coords, fore: Mask, spatial_shape: tuple[int, int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shuffle the foreground's neighbours inside the grid; say which of them open a cell.

    Those that reach a sample's largest y or x come first: the merging's key depends on the largest
    coordinates, and once they are fixed, every further cell adds one voxel or, if the key takes it
    for another, none.

    Returns:
        Flat indices into [N, 26], and the positions among them, ascending, of those that open.
    """
    flat, cells = neighbour_cells(coords, fore, spatial_shape)
    rng = np.random.default_rng(_SHUFFLE_SEED)
    shuffle = rng.permutation(len(flat))
    flat, cells = flat[shuffle], cells[shuffle]
    reaches = np.zeros(len(cells), bool)
    for sample in np.unique(cells[:, 0]):
        own = np.flatnonzero(cells[:, 0] == sample)
        for axis in (2, 3):
            reaches[own[np.argmax(cells[own, axis])]] = True
    order = np.concatenate((np.flatnonzero(reaches), np.flatnonzero(~reaches)))
    return flat[order], opening(coords, cells[order], spatial_shape)


def most_growth(
    coords: Coords, shape: tuple[int, int, int], top_share: float | None
) -> FocalDecision:
    """Every neighbour on; as foreground all voxels, or the share that opens most cells."""
    every_neighbour = np.ones((len(coords), len(OFFSETS)), bool)
    fore = np.ones(len(coords), bool)
    if top_share is None:
        return FocalDecision(fore, every_neighbour)
    opened, _ = spawned_cells(coords, fore, shape)
    cells = np.bincount(opened // len(OFFSETS), minlength=len(coords))
    return FocalDecision(first_of_each_sample(coords, -cells, top_share), every_neighbour)
