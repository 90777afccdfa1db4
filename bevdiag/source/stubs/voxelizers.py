"""spconv's voxelizers of the host, as a data pipeline calls them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bevdiag.scenes.voxels import voxelize


class TensorViewArray(np.ndarray[Any, Any]):
    """An array as cumm's tensorview hands it out."""

    def numpy(self) -> NDArray[Any]:
        """Return a NumPy array."""
        return np.asarray(self)

    numpy_view = numpy


def from_numpy(values: Any) -> Any:
    """cumm.tensorview.from_numpy."""
    return np.asarray(values).view(TensorViewArray)


class HostVoxelizer:
    """`Point2VoxelCPU3d` of spconv 2, and `VoxelGenerator` of spconv 1.

    Args:
        named: the settings under the names of either.
    """

    def __init__(self, *_: Any, **named: Any) -> None:
        self._size = _either(named, "vsize_xyz", "voxel_size")
        self._range = tuple(map(float, _either(named, "coors_range_xyz", "point_cloud_range")))
        points = int(_either(named, "max_num_points_per_voxel", "max_num_points"))
        self._max_voxels = int(_either(named, "max_num_voxels", "max_voxels"))
        extent = np.subtract(self._range[3:], self._range[:3])
        self._grid = tuple(int(n) for n in np.round(extent / np.asarray(self._size, np.float64)))
        self._max_points = points

    def generate(self, points: Any, max_voxels: int | None = None) -> Any:
        """Voxels [M, P, F], their z, y, x [M, 3] and their numbers of points [M]."""
        cloud = np.asarray(points, np.float32)
        found = voxelize(
            cloud,
            self._range,  # type: ignore[arg-type]
            self._size,
            self._grid,
            self._max_points if self._max_points > 0 else max(len(cloud), 1),
            max_voxels or self._max_voxels,
        )
        return found.padded(), found.coords, found.num_points

    def point_to_voxel(self, points: Any, *_: Any, **__: Any) -> Any:
        """Voxelize into arrays of tensorview."""
        return tuple(from_numpy(part) for part in self.generate(points))


def _either(named: dict[str, Any], new: str, old: str) -> Any:
    return named[new] if new in named else named[old]
