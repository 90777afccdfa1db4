"""Hard voxelization: which voxels a point cloud fills, and with which of its points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bevdiag.scenes.layout import Points, Range


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """The voxels of one sample, packed: M voxels holding K points of F features.

    Attributes:
        coords: int32 [M, 3], z, y, x; in the order of each voxel's first point.
        num_points: int32 [M], points kept in each voxel.
        points: float32 [K, F], the kept points, sorted by voxel, in their order in the cloud.
        voxel_of_point: int64 [K], which voxel a kept point lies in; ascending.
        max_points: P, the most points that a voxel keeps.
    """

    coords: NDArray[np.int32]
    num_points: NDArray[np.int32]
    points: Points
    voxel_of_point: NDArray[np.int64]
    max_points: int

    def padded(self) -> Points:
        """Float32 [M, P, F]: each voxel's points, filled up with zeros."""
        starts = np.cumsum(self.num_points, dtype=np.int64) - self.num_points
        slot = np.arange(len(self.points)) - starts[self.voxel_of_point]
        shape = (len(self.coords), self.max_points, self.points.shape[1])
        padded = np.zeros(shape, np.float32)
        padded[self.voxel_of_point, slot] = self.points
        return padded


def voxelize(
    points: Points,
    point_cloud_range: Range,
    voxel_size: Sequence[float],
    grid_size: Sequence[int],
    max_points: int,
    max_voxels: int,
) -> Voxels:
    """Sort points into voxels as spconv's point-to-voxel generator does.

    A voxel exists from its first point on; once `max_voxels` exist, points that would open another
    are dropped, as are points that come to a voxel that holds `max_points` already.

    Args:
        points: float32 [N, F].
        point_cloud_range: its first three values are the grid's origin.
        voxel_size: x, y, z in metres.
        grid_size: x, y, z in voxels; points outside the grid are dropped.
        max_points: most points a voxel.
        max_voxels: most voxels.
    """
    # The cell of a point on a voxel's edge depends on the precision: float32 points meet a float64
    # origin and edge length, so the quotient is float64.
    origin = np.asarray(point_cloud_range[:3], np.float64)
    cell = np.floor((points[:, :3] - origin) / np.asarray(voxel_size, np.float64)).astype(np.int64)
    grid = np.asarray(grid_size, np.int64)
    inside = np.flatnonzero(np.all((cell >= 0) & (cell < grid), axis=1))
    cell = cell[inside]
    keys = (cell[:, 2] * grid[1] + cell[:, 1]) * grid[0] + cell[:, 0]

    by_key = np.argsort(keys, kind="stable")
    sorted_keys = keys[by_key]
    opens = np.ones(len(keys), dtype=bool)
    opens[1:] = sorted_keys[1:] != sorted_keys[:-1]
    starts = np.flatnonzero(opens)
    counts = np.diff(np.append(starts, len(keys)))
    # A stable sort leaves each voxel's first point at the start of its run.
    first_point = by_key[starts]
    order = np.argsort(first_point)[:max_voxels]

    kept = np.minimum(counts[order], max_points)
    voxel_of_point = np.repeat(np.arange(len(order)), kept)
    slot = np.arange(len(voxel_of_point)) - np.repeat(np.cumsum(kept) - kept, kept)
    source = inside[by_key[starts[order][voxel_of_point] + slot]]
    return Voxels(
        coords=cell[first_point[order], ::-1].astype(np.int32),
        num_points=kept.astype(np.int32),
        points=np.ascontiguousarray(points[source], np.float32),
        voxel_of_point=voxel_of_point,
        max_points=max_points,
    )
