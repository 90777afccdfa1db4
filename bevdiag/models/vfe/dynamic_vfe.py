"""DynMeanVFE, DynPillarVFE and DynamicVoxelVFE: on the points themselves, without padding.

A point's voxel decides how many voxels there are. On meta, `points` therefore brings its values: a
real tensor of the CPU that stands for the device's, as do the grid's figures here. The operations
are the original's own; features made from the points afterwards have no values.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.config.model_settings import DataSettings
from bevdiag.config.vfe_settings import PointNetVfeSettings
from bevdiag.models.contracts import Batch
from bevdiag.models.scatter import extreme, mean
from bevdiag.models.sized_ops import to_device, without_values
from bevdiag.models.vfe.pillar_vfe import PointLayer, PointNetVfe


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
    """

    voxel_size: Tensor
    point_cloud_range: Tensor
    grid_size: Tensor

    def __init__(self, data: DataSettings, *, is_pillars: bool, by_rows: bool) -> None:
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
            device = torch.get_default_device()
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


class DynamicMeanVfe(nn.Module):
    """The mean of each voxel's points."""

    def __init__(self, num_point_features: int, data: DataSettings) -> None:
        super().__init__()
        self.num_point_features = num_point_features
        self.has_values = torch.get_default_device().type != "meta"
        self.grouping = PointGrouping(data, is_pillars=False, by_rows=False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """Add `voxel_features` [M, F] and `voxel_coords` [M, 4] from `points` [N, 1 + F]."""
        grouped = self.grouping(batch["points"])
        features = grouped.points[:, 1:].contiguous()
        values = features if self.has_values else without_values(features)
        means = mean(values, grouped.voxel_of_point, 0, None, len(grouped.voxels))
        coords = self.grouping.coords(grouped.voxels)
        batch["voxel_features"] = means.contiguous()
        batch["voxel_coords"] = coords.contiguous()
        return batch


class PointNetLayer(PointLayer):
    """Linear, BatchNorm and ReLU on every point, and the maximum over its voxel's points."""

    def __init__(self, in_channels: int, out_channels: int, *, use_norm: bool, last: bool) -> None:
        super().__init__(in_channels, out_channels, use_norm=use_norm, last=last)
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor, voxel_of_point: Tensor, num_voxels: int) -> Tensor:
        """[N, C_in] to [N, 2 * C], the last layer to [M, C]."""
        x = self.linear(inputs)
        if self.norm is not None:
            x = self.norm(x)
        x = self.relu(x)
        strongest, _ = extreme("amax", x, voxel_of_point, 0, None, num_voxels)
        if self.last:
            return strongest
        return torch.cat([x, strongest[voxel_of_point, :]], dim=1)


class DynamicPointNetVfe(PointNetVfe):
    """DynPillarVFE and DynamicVoxelVFE, which differ in whether the height tells voxels apart."""

    def __init__(
        self, settings: PointNetVfeSettings, num_point_features: int, data: DataSettings
    ) -> None:
        super().__init__(settings, data)
        self.has_values = torch.get_default_device().type != "meta"
        is_pillars = settings.name == "DynPillarVFE"
        self.grouping = PointGrouping(data, is_pillars=is_pillars, by_rows=True)
        self.pfn_layers = self.make_layers(PointNetLayer, num_point_features)

    def forward(self, batch: Batch) -> Batch:
        """Add `pillar_features`, `voxel_features` [M, C] and `voxel_coords` [M, 4]."""
        grouped = self.grouping(batch["points"])
        xyz = grouped.points[:, [1, 2, 3]].contiguous()
        num_voxels = len(grouped.voxels)
        features = self._augmented(grouped, xyz)
        for layer in self.pfn_layers:
            features = layer(features, grouped.voxel_of_point, num_voxels)
        coords = self.grouping.coords(grouped.voxels)
        batch["voxel_features"] = batch["pillar_features"] = features
        batch["voxel_coords"] = coords
        return batch

    def _augmented(self, grouped: Grouped, xyz: Tensor) -> Tensor:
        """Each point with its place seen from its voxel's mean and centre, [N, C]."""
        points, cells = grouped.points, grouped.cells
        if not self.has_values:
            points, cells, xyz = map(without_values, (points, cells, xyz))
        means = mean(xyz, grouped.voxel_of_point, 0, None, len(grouped.voxels))
        from_mean = xyz - means[grouped.voxel_of_point, :]
        from_centre = torch.zeros_like(xyz)
        for axis in range(3):
            if axis < cells.shape[1]:
                cell = cells[:, axis].to(xyz.dtype)
                centre = cell * self.voxel_size[axis] + self.offset[axis]
                from_centre[:, axis] = xyz[:, axis] - centre
            else:
                from_centre[:, axis] = xyz[:, axis] - self.offset[axis]
        raw = points[:, 1:] if self.settings.use_abslote_xyz else points[:, 4:]
        parts = [raw, from_mean, from_centre]
        if self.settings.with_distance:
            parts.append(torch.norm(points[:, 1:4], 2, dim=1, keepdim=True))
        return torch.cat(parts, dim=-1)
