"""How the dynamic encoders group points into voxels, uncapped and on the device.

A point's voxel decides how many voxels there are. On meta, `points` therefore brings its values: a
real tensor of the CPU that stands for the device's, as do the grid's figures here. The operations
are the original's own; features made from the points afterwards have no values.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.config.settings import DataSettings
from bevdiag.models.sized_ops import to_device


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """N points inside the grid and the M voxels that they fill.

    Attributes:
        points: float [N, 1 + F], the sample first.
        cells: int32 [N, axes], each point's x, y (, z) in voxels.
        voxel_of_point: int64 [N].
        voxels: int32 [M], a voxel's number on the grid of all samples.
    """

    points: Tensor
    cells: Tensor
    voxel_of_point: Tensor
    voxels: Tensor


class PointGrouping(nn.Module):
    """The grid, as buffers on the device.

    Args:
        data: the grid.
        is_pillars: whether the height plays no part.
        by_rows: whether voxel numbers are distinguished as rows of one column, which another kernel
            does than for plain values.
        device: of the detector.
    """

    voxel_size: Tensor
    point_cloud_range: Tensor
    grid_size: Tensor

    def __init__(
        self, data: DataSettings, *, is_pillars: bool, by_rows: bool, device: torch.device
    ) -> None:
        super().__init__()
        self.axes = [0, 1] if is_pillars else [0, 1, 2]
        self.by_rows = by_rows
        x, y, z = data.grid_size
        # A point's number: ((sample * x + its x) * y + its y) * z + its z.
        self.scales = (x * y, y, 1) if is_pillars else (x * y * z, y * z, z)
        grids: tuple[tuple[str, object, type[np.generic]], ...] = (
            ("grid_size", data.grid_size, np.int64),
            ("voxel_size", data.voxel_size, np.float32),
            ("point_cloud_range", data.point_cloud_range, np.float32),
        )
        for name, values, dtype in grids:
            tensor = to_device(np.array(values, dtype), device, keep_values=True)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, points: Tensor) -> Grouped:
        """Group points [N, 1 + F]; those outside the grid are dropped."""
        columns = [axis + 1 for axis in self.axes]
        low, size = self.point_cloud_range[self.axes], self.voxel_size[self.axes]
        cells = torch.floor((points[:, columns] - low) / size).int()
        mask = ((cells >= 0) & (cells < self.grid_size[self.axes])).all(dim=1)
        points = points[mask]
        cells = cells[mask]
        number = points[:, 0].int() * self.scales[0] + cells[:, 0] * self.scales[1]
        number = number + cells[:, 1] * self.scales[2]
        if len(self.axes) > 2:
            number = number + cells[:, 2]
        voxels, voxel_of_point, _counts = torch.unique(
            number, return_inverse=True, return_counts=True, dim=0 if self.by_rows else None
        )
        return Grouped(points, cells, voxel_of_point, voxels)

    def coords(self, voxels: Tensor) -> Tensor:
        """Sample, z, y, x of voxels [M] as int32 [M, 4]."""
        voxels = voxels.int()
        sample, column, row = self.scales
        if len(self.axes) > 2:
            z = voxels % row
            y = (voxels % column) // row
        else:
            z = torch.zeros(voxels.shape[0], device=voxels.device).int()
            y = voxels % column
        coords = torch.stack((voxels // sample, (voxels % sample) // column, y, z), dim=1)
        return coords[:, [0, 3, 2, 1]]
