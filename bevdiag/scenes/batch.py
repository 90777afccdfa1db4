"""One training batch: points, voxels and boxes of all samples, as the data loader would hand it.

Hard voxelization: which voxels a point cloud fills, and with which of its points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError
from bevdiag.scenes.point_layout import Points, Range


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


_BOX_SHARE = (0.01, 0.06)
"""Edge lengths of the synthetic boxes as a share of the range's shorter flat side: in a 75 m scene
0.75 to 4.5 m, from a pedestrian to a car."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B samples with N points and, unless voxelized dynamically, M voxels in all.

    Attributes:
        points: float32 [N, 1 + F], the sample's index, then the point's features.
        voxels: each sample's voxels, None where the model voxelizes points itself.
        gt_boxes: float32 [B, boxes, 8+]: x, y, z, dx, dy, dz, heading, whatever else the head
            learns (a velocity), class (from 1).
        grid_size: x, y, z in voxels.
        source: where the points come from, e.g. "synthetic sonar, seed 0".
    """

    points: Points
    voxels: tuple[Voxels, ...] | None
    gt_boxes: Points
    grid_size: tuple[int, int, int]
    source: str

    @property
    def batch_size(self) -> int:
        """Number of samples, B."""
        return len(self.gt_boxes)

    @property
    def num_voxels(self) -> int:
        """Number of voxels of all samples, M; 0 where the model voxelizes points itself."""
        return sum(len(sample.coords) for sample in self.voxels or ())

    def voxel_coords(self) -> NDArray[np.int32]:
        """Int32 [M, 4]: sample, z, y, x."""
        samples = self._hard_voxels()
        of_sample = np.repeat(np.arange(len(samples)), [len(s.coords) for s in samples])
        coords = np.concatenate([s.coords for s in samples])
        return np.concatenate((of_sample[:, None], coords), axis=1, dtype=np.int32)

    def voxel_num_points(self) -> NDArray[np.int32]:
        """Int32 [M]: points kept in each voxel."""
        return np.concatenate([sample.num_points for sample in self._hard_voxels()])

    def padded_voxels(self) -> Points:
        """Float32 [M, P, F]: each voxel's points, filled up with zeros."""
        return np.concatenate([sample.padded() for sample in self._hard_voxels()])

    def _hard_voxels(self) -> tuple[Voxels, ...]:
        if self.voxels is None:
            raise ValueError("this batch holds points only: the model voxelizes them itself")
        return self.voxels


def make_batch(
    samples: Sequence[Points],
    *,
    point_cloud_range: Range,
    voxel_size: Sequence[float],
    grid_size: tuple[int, int, int],
    max_points: int | None,
    max_voxels: int | None,
    num_boxes: int,
    num_classes: int,
    seed: int,
    source: str,
    box_extras: int = 0,
) -> Batch:
    """Crop, voxelize and collate the samples, and draw boxes for them.

    Points are cropped in x and y alone, edges included, as OpenPCDet's first data processor does;
    voxelization then drops what lies outside in z. Without `max_points` or `max_voxels` the model
    voxelizes dynamically and gets the points alone. `box_extras` counts a box's values between its
    heading and its class.

    Raises:
        InputError: a sample has no point inside the range.
    """
    cropped = [_crop(cloud, i, point_cloud_range, source) for i, cloud in enumerate(samples)]
    voxels = None
    if max_points is not None and max_voxels is not None:
        voxels = tuple(
            voxelize(cloud, point_cloud_range, voxel_size, grid_size, max_points, max_voxels)
            for cloud in cropped
        )
    of_sample = np.repeat(np.arange(len(cropped)), [len(cloud) for cloud in cropped])
    xyz_and_features = np.concatenate(cropped)
    points = np.concatenate((of_sample[:, None], xyz_and_features), axis=1, dtype=np.float32)
    boxes = _random_boxes(len(samples), num_boxes, num_classes, point_cloud_range, seed)
    boxes = np.insert(boxes, [7] * box_extras, 0, axis=-1)
    return Batch(points, voxels, boxes, grid_size, source)


def _crop(points: Points, sample: int, point_cloud_range: Range, source: str) -> Points:
    low, high = np.asarray(point_cloud_range[:3]), np.asarray(point_cloud_range[3:])
    in_plane = np.all((points[:, :2] >= low[:2]) & (points[:, :2] <= high[:2]), axis=1)
    cropped: Points = points[in_plane]
    if not np.any((cropped[:, 2] >= low[2]) & (cropped[:, 2] < high[2])):
        raise InputError(
            f"sample {sample} of {source}: none of its {len(points)} points lies inside "
            f"POINT_CLOUD_RANGE {list(point_cloud_range)}: check the range, the unit (metres) and "
            "the order of the columns"
        )
    return cropped


def _random_boxes(
    batch_size: int, num_boxes: int, num_classes: int, point_cloud_range: Range, seed: int
) -> Points:
    rng = np.random.default_rng(seed)
    low, high = np.asarray(point_cloud_range[:3]), np.asarray(point_cloud_range[3:])
    shape = (batch_size, num_boxes)
    # Heights get the share of the flat extent too, unless the range itself is lower than that.
    extent = np.full(3, float((high - low)[:2].min()))
    size = np.minimum(rng.uniform(*_BOX_SHARE, (*shape, 3)) * extent, 0.5 * (high - low))
    centre = rng.uniform(low + size / 2, high - size / 2)
    heading = rng.uniform(-np.pi, np.pi, (*shape, 1))
    classes = rng.integers(1, num_classes + 1, (*shape, 1))
    boxes: Points = np.concatenate((centre, size, heading, classes), axis=-1, dtype=np.float32)
    return boxes
