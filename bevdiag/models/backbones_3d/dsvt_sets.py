"""DSVT's windows and sets: where a voxel lies, and the counts that decide shapes.

Equation 3 of "DSVT: Dynamic Sparse Voxel Transformer with Rotated Sets", arXiv:2301.06051. A window
with n voxels gets ceil(n / S) sets of S slots; slots beyond n repeat a voxel and are masked.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.models.backbones_3d.focal_growth import Coords
from bevdiag.models.sized_ops import bincount, to_device, unique_with_inverse

Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class WindowGrid:
    """Windows of one stage and shift; all triples are x, y, z in voxels.

    Attributes:
        sparse_shape: extents of the stage.
        window: extents of a window.
        shift: added to coordinates before they are divided into windows; its z counts only where
            the window is lower than the stage.
    """

    sparse_shape: Triple
    window: Triple
    shift: Triple

    @property
    def volume(self) -> int:
        """Voxels that fit a window."""
        return self.window[0] * self.window[1] * self.window[2]

    @property
    def counts(self) -> Triple:
        """Most windows along x, y, z; one more than fit, for the shift."""
        x, y, z = (
            -(-extent // w) + 1 for extent, w in zip(self.sparse_shape, self.window, strict=True)
        )
        return x, y, z

    @property
    def effective_shift(self) -> Triple:
        """The shift with its z left out where one window spans the whole height."""
        x, y, z = self.shift
        return x, y, 0 if self.sparse_shape[2] == self.window[2] else z

    def place(self, coords: Tensor) -> tuple[Tensor, Tensor]:
        """Window index [N] and position in the window [N, 3] (z, y, x) of coords [N, 4] int64."""
        shifted = [coords[:, 3 - axis] + self.effective_shift[axis] for axis in range(3)]
        x, y, z = (value // extent for value, extent in zip(shifted, self.window, strict=True))
        num_x, num_y, num_z = self.counts
        window = coords[:, 0] * (num_x * num_y * num_z) + x * num_y * num_z + y * num_z + z
        inner_x, inner_y, inner_z = (
            value % extent for value, extent in zip(shifted, self.window, strict=True)
        )
        return window, torch.stack([inner_z, inner_y, inner_x], dim=-1)

    def occupancy(self, coords: Coords) -> NDArray[np.int64]:
        """Voxels of each window that has any, in the order of the window index."""
        window, _ = self.place(torch.from_numpy(coords).long())
        counts = np.bincount(window.numpy())
        occupied: NDArray[np.int64] = counts[counts > 0]
        return occupied


@dataclass(frozen=True, slots=True)
class PoolGrid:
    """How voxels of a stage fall into the next one's; triples are x, y, z."""

    sparse_shape: Triple
    stride: Triple

    @property
    def volume(self) -> int:
        """Voxels that one voxel of the next stage pools."""
        return self.stride[0] * self.stride[1] * self.stride[2]

    @property
    def next_shape(self) -> Triple:
        """Extents of the next stage."""
        x, y, z = (
            -(-extent // s) for extent, s in zip(self.sparse_shape, self.stride, strict=True)
        )
        return x, y, z

    def place(self, coords: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pool index [N], position in the pool [N] and next stage's coordinates [N, 4]."""
        columns = [coords[:, 3 - axis] for axis in range(3)]
        x, y, z = (column // s for column, s in zip(columns, self.stride, strict=True))
        num_x, num_y, num_z = self.next_shape
        pool = coords[:, 0] * (num_x * num_y * num_z) + x * num_y * num_z + y * num_z + z
        inner_x, inner_y, inner_z = (
            column % s for column, s in zip(columns, self.stride, strict=True)
        )
        inner = torch.stack([inner_z, inner_y, inner_x], dim=-1)
        position = (
            inner[:, 2] * self.stride[1] * self.stride[2]
            + inner[:, 1] * self.stride[2]
            + inner[:, 0]
        )
        return pool, position, torch.stack([coords[:, 0], z, y, x], dim=-1)

    def pooled(self, coords: Coords) -> Coords:
        """Return the next stage's distinct coordinates, in the order of the pool index."""
        pool, _, pooled = self.place(torch.from_numpy(coords).long())
        _, first = np.unique(pool.numpy(), return_index=True)
        distinct: Coords = pooled.numpy()[first].astype(np.int32)
        return distinct


@dataclass(frozen=True, slots=True, eq=False)
class SetPartition:
    """Sets by order y and order x.

    Attributes:
        voxels: int64 [2, sets, S], the voxel in each slot.
        repeated: bool [2, sets, S], slots that repeat the slot before them.
        shifted: int64 [2, sets, S], `voxels` moved by one slot; unused, alive as in the original.
    """

    voxels: Tensor
    repeated: Tensor
    shifted: Tensor


def partition(
    window: Tensor,
    inner: Tensor,
    grid: WindowGrid,
    set_size: int,
    occupancy: NDArray[np.int64] | None,
) -> SetPartition:
    """Deal N voxels to sets.

    Args:
        window: int64 [N], each voxel's window.
        inner: int64 [N, 3], its position there, z, y, x.
        grid: the windows.
        set_size: S.
        occupancy: voxels of each non-empty window; given on meta tensors, else decided by values.
    """
    voxels = _deal(window, inner, grid, set_size, occupancy)
    shifted = torch.roll(voxels.clone(), shifts=1, dims=-1)
    shifted[:, :, 0] = -1
    return SetPartition(voxels, voxels == shifted, shifted)


def _deal(
    window: Tensor,
    inner: Tensor,
    grid: WindowGrid,
    set_size: int,
    occupancy: NDArray[np.int64] | None,
) -> Tensor:
    known_windows = None if occupancy is None else len(occupancy)
    _, contiguous = unique_with_inverse(window, known_windows)
    voxels_per_window = bincount(contiguous, known_windows)
    num_windows = voxels_per_window.shape[0]
    rank = _ranks_of_slots(voxels_per_window, grid, set_size, occupancy)

    unordered = ingroup_indices(contiguous)
    _, arrival = torch.sort(contiguous * grid.volume + unordered)
    wx, wy, wz = grid.window
    z, y, x = inner[:, 0], inner[:, 1], inner[:, 2]
    _, order = torch.sort(contiguous * grid.volume + y * wx * wz + x * wz + z)
    ranked = _rank_in_window(unordered, arrival, order) + grid.volume * contiguous
    voxel_by_y = _voxel_of_rank(ranked, num_windows * grid.volume)
    by_y = voxel_by_y[rank.long()]

    _, order = torch.sort(contiguous * grid.volume + x * wy * wz + y * wz + z)
    ranked = _rank_in_window(unordered, arrival, order) + grid.volume * contiguous
    voxel_by_x = _voxel_of_rank(ranked, num_windows * grid.volume)
    by_x = voxel_by_x[rank.long()]
    return torch.stack((by_y, by_x), dim=0)


def _ranks_of_slots(
    voxels_per_window: Tensor,
    grid: WindowGrid,
    set_size: int,
    occupancy: NDArray[np.int64] | None,
) -> Tensor:
    """Which voxel each slot takes: window * volume + rank in the window, float64 [sets, S]."""
    quotient = voxels_per_window / set_size
    sets_per_window = torch.ceil(quotient).long()
    host_sets = None if occupancy is None else -(-occupancy // set_size)
    window, number = _number_sets(sets_per_window, host_sets)
    slot = number[:, None].repeat(1, set_size) * set_size
    slot = slot + torch.arange(0, set_size, 1, device=window.device)
    slot = slot * voxels_per_window[window][:, None]
    rank = slot.double() / (sets_per_window[window] * set_size)[:, None].double()
    rank = torch.floor(rank)
    return rank + window.view(-1, 1) * grid.volume


def _rank_in_window(unordered: Tensor, arrival: Tensor, order: Tensor) -> Tensor:
    """Each voxel's rank in its window when sorted by `order`, int64 [N]."""
    ranked = -torch.ones_like(unordered)
    return ranked.scatter_(dim=0, index=order, src=unordered[arrival])


def _voxel_of_rank(ranked: Tensor, size: int) -> Tensor:
    """Invert `ranked`, -1 where no voxel is: a slot for every cell of every window."""
    table = -1 * torch.ones(size, dtype=torch.long, device=ranked.device)
    table[ranked] = torch.arange(0, ranked.shape[0], dtype=torch.long, device=ranked.device)
    return table


def _number_sets(
    sets_per_window: Tensor, host_sets: NDArray[np.int64] | None
) -> tuple[Tensor, Tensor]:
    """Each set's window, and its number within that window; both int64 [sets]."""
    device = sets_per_window.device
    total = sets_per_window.sum()
    num_sets = int(total.item()) if host_sets is None else int(host_sets.sum())
    starts = torch.cumsum(sets_per_window, dim=0)[:-1]
    window = torch.full((num_sets,), 0, device=device)
    window[starts] = 1
    window = torch.cumsum(window, dim=0)
    difference = window - torch.roll(window, -1)
    # The last set of all differs from the first, which stands behind it, unless there is only one
    # window; the original then finds no end, and neither does this.
    if host_sets is None:
        is_last = difference != 0
    else:
        ends = np.zeros(num_sets, bool)
        ends[np.cumsum(host_sets) - 1] = len(host_sets) > 1
        is_last = to_device(ends, device, keep_values=True)
    step = torch.ones_like(window)
    step[is_last] = (sets_per_window - 1) * -1
    number = torch.cumsum(step, dim=0)
    number[is_last] = sets_per_window
    return window, number - 1


def ingroup_indices(groups: Tensor) -> Tensor:
    """Each element's index within its group, in no set order on a GPU; here in order of arrival.

    Stands in for the CUDA operator of that name: the result, made as zeros and lowered by one, is
    all that it takes from PyTorch's allocator; its counters come from cudaMalloc and go at once.

    Args:
        groups: int64 [N], group numbers from 0.
    """
    result = torch.zeros_like(groups) - 1
    if not groups.is_meta:
        result.copy_(_order_of_arrival(groups))
    return result


def _order_of_arrival(groups: Tensor) -> Tensor:
    host = groups.cpu().numpy()
    order = np.argsort(host, kind="stable")
    sorted_groups = host[order]
    starts = np.searchsorted(sorted_groups, sorted_groups)
    index = np.empty_like(host)
    index[order] = np.arange(len(host)) - starts
    return torch.from_numpy(index)
