"""DSVT's windows: which window a voxel lies in and where, and the counts that decide shapes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.models.backbones_3d.focal_growth import Coords

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
        num_x, num_y, num_z = self.counts
        shift, window = self.effective_shift, self.window
        index = coords[:, 0].astype(np.int64)
        index = index * num_x + (coords[:, 3] + shift[0]) // window[0]
        index = index * num_y + (coords[:, 2] + shift[1]) // window[1]
        index = index * num_z + (coords[:, 1] + shift[2]) // window[2]
        counts = np.bincount(index)
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
        num_x, num_y, num_z = self.next_shape
        key = coords[:, 0].astype(np.int64)
        for axis, extent in enumerate((num_x, num_y, num_z)):
            key = key * extent + coords[:, 3 - axis] // self.stride[axis]
        key = np.unique(key)
        key, z = np.divmod(key, num_z)
        key, y = np.divmod(key, num_y)
        sample, x = np.divmod(key, num_x)
        pooled: Coords = np.stack([sample, z, y, x], axis=1, dtype=np.int32, casting="unsafe")
        return pooled
