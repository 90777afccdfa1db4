"""MeanVFE, and PillarVFE, a small PointNet: on padded voxels."""

import torch
from torch import Tensor, nn

from bevdiag.config.model_settings import DataSettings
from bevdiag.config.vfe_settings import PointNetVfeSettings
from bevdiag.models.contracts import Batch
from bevdiag.models.sized_ops import without_values

_MOST_VOXELS_AT_ONCE = 50_000
"""Above this many, the original hands voxels to its linear layer in parts and joins the results."""


def point_channels(settings: PointNetVfeSettings, num_point_features: int) -> int:
    """Features of an augmented point.

    Three by its mean, three by its cell's centre; the raw coordinates may be left out and its
    distance from the sensor added.
    """
    channels = num_point_features + (6 if settings.use_abslote_xyz else 3)
    return channels + settings.with_distance


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
        channels = point_channels(settings, num_point_features)
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
