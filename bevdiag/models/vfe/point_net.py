"""Encoders that take the mean of a voxel's points, or run a small PointNet on them.

MeanVFE and PillarVFE work on padded voxels, DynMeanVFE, DynPillarVFE and DynamicVoxelVFE on the
points themselves. A point's voxel decides how many voxels there are. On meta, `points` therefore
brings its values: a real tensor of the CPU that stands for the device's, as do the grid's figures
here. The operations are the original's own; features made from the points afterwards have no
values.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.config.backbone_settings import PointNetVfeSettings
from bevdiag.config.model_settings import DataSettings
from bevdiag.models.contracts import Batch
from bevdiag.models.scatter import extreme, mean
from bevdiag.models.sized_ops import to_device, without_values

_MOST_VOXELS_AT_ONCE = 50_000
"""Above this many, the original hands voxels to its linear layer in parts and joins the results."""


class PointLayer(nn.Module):
    """What every layer on points has: a linear map and, with `use_norm`, BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int, *, use_norm: bool, last: bool) -> None:
        super().__init__()
        self.last = last
        self.linear = nn.Linear(in_channels, out_channels, bias=not use_norm)
        self.norm = nn.BatchNorm1d(out_channels, eps=1e-3, momentum=0.01) if use_norm else None


class PaddedPointNetLayer(PointLayer):
    """Linear, BatchNorm and ReLU on every slot, and the maximum over a voxel's slots."""

    def forward(self, inputs: Tensor) -> Tensor:
        """[M, P, C_in] to [M, P, 2 * C], the last layer to [M, 1, C]."""
        x = self._linear(inputs)
        if self.norm is not None:
            with torch.backends.cudnn.flags(enabled=False):
                x = self.norm(x.permute(0, 2, 1)).permute(0, 2, 1)
        x = torch.relu(x)
        strongest = torch.max(x, dim=1, keepdim=True)[0]
        if self.last:
            return strongest
        repeated = strongest.repeat(1, inputs.shape[1], 1)
        return torch.cat([x, repeated], dim=2)

    def _linear(self, inputs: Tensor) -> Tensor:
        if inputs.shape[0] <= _MOST_VOXELS_AT_ONCE:
            whole: Tensor = self.linear(inputs)
            return whole
        starts = range(0, inputs.shape[0] + 1, _MOST_VOXELS_AT_ONCE)
        parts = [self.linear(inputs[start : start + _MOST_VOXELS_AT_ONCE]) for start in starts]
        return torch.cat(parts, dim=0)


class PointNetVfe(nn.Module):
    """A PointNet in each voxel; all of its layers but the last append the voxel's maximum."""

    def __init__(self, settings: PointNetVfeSettings, data: DataSettings) -> None:
        super().__init__()
        self.settings = settings
        self.voxel_size = data.voxel_size
        self.offset = tuple(
            size / 2 + low
            for size, low in zip(data.voxel_size, data.point_cloud_range[:3], strict=True)
        )

    def make_layers(self, layer: type[PointLayer], num_point_features: int) -> nn.ModuleList:
        """Build the layers on the points' own features and those that are added to them."""
        settings, layers = self.settings, nn.ModuleList()
        # Three by a point's mean and three by its cell's centre are added.
        channels = num_point_features + (6 if settings.use_abslote_xyz else 3)
        channels += settings.with_distance
        for index, width in enumerate(settings.num_filters, 1):
            last = index == len(settings.num_filters)
            own = width if last else width // 2
            layers.append(layer(channels, own, use_norm=settings.use_norm, last=last))
            channels = width
        return layers


class PillarVfe(PointNetVfe):
    """Pillar features from padded points; padded slots enter as zeros."""

    def __init__(
        self, settings: PointNetVfeSettings, num_point_features: int, data: DataSettings
    ) -> None:
        super().__init__(settings, data)
        self.pfn_layers = self.make_layers(PaddedPointNetLayer, num_point_features)

    def forward(self, batch: Batch) -> Batch:
        """Add `pillar_features` [M, C]."""
        voxels, num_points = batch["voxels"], batch["voxel_num_points"]
        coords = without_values(batch["voxel_coords"]) if voxels.is_meta else batch["voxel_coords"]
        count = num_points.type_as(voxels).view(-1, 1, 1)
        mean = voxels[:, :, :3].sum(dim=1, keepdim=True) / count
        from_mean = voxels[:, :, :3] - mean
        from_centre = torch.zeros_like(voxels[:, :, :3])
        for axis in range(3):
            cell = coords[:, 3 - axis].to(voxels.dtype).unsqueeze(1)
            centre = cell * self.voxel_size[axis] + self.offset[axis]
            from_centre[:, :, axis] = voxels[:, :, axis] - centre
        raw = voxels if self.settings.use_abslote_xyz else voxels[..., 3:]
        parts = [raw, from_mean, from_centre]
        if self.settings.with_distance:
            parts.append(torch.norm(voxels[:, :, :3], 2, 2, keepdim=True))
        features = torch.cat(parts, dim=-1)
        mask = occupied_slots(num_points, features.shape[1]).unsqueeze(-1).type_as(voxels)
        features *= mask
        for layer in self.pfn_layers:
            features = layer(features)
        batch["pillar_features"] = features.squeeze()
        return batch


def occupied_slots(num_points: Tensor, max_points: int) -> Tensor:
    """Bool [M, P] from the voxels' points [M]: whether a slot holds one."""
    slots = torch.arange(max_points, dtype=torch.int, device=num_points.device).view(1, -1)
    return num_points.unsqueeze(1).int() > slots


class MeanVfe(nn.Module):
    """Without parameters; every point feature takes part."""

    def __init__(self, num_point_features: int) -> None:
        super().__init__()
        self.num_point_features = num_point_features

    def forward(self, batch: Batch) -> Batch:
        """Add `voxel_features` [M, F] from `voxels` [M, P, F] and `voxel_num_points` [M]."""
        voxels, num_points = batch["voxels"], batch["voxel_num_points"]
        mean = voxels[:, :, :].sum(dim=1, keepdim=False)
        count = torch.clamp_min(num_points.view(-1, 1), min=1.0).type_as(voxels)
        mean = mean / count
        batch["voxel_features"] = mean.contiguous()
        return batch


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
