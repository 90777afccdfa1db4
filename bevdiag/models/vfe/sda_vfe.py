"""SDAVFE: padded points with stacked channel and point attention; and the same on packed points.

All padded slots of a voxel enter as zeros, so every layer gives them one common value: a single
row a voxel, weighted with the number of its padded slots in BatchNorm's statistics, stands for
them. The result equals the padded module's up to rounding, at a fraction of its memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bevdiag.config.backbone_settings import SdaVfeSettings
from bevdiag.models.contracts import Batch
from bevdiag.models.sized_ops import without_values
from bevdiag.models.vfe.point_net import PointLayer, occupied_slots


class DoubleAttentionLayer(PointLayer):
    """Linear, BatchNorm and ReLU on every point, scaled by 1 + point attention * channel attention.

    The last layer of a stack takes the maximum over a voxel's points.
    """

    def __init__(self, in_channels: int, out_channels: int, *, use_norm: bool, last: bool) -> None:
        super().__init__(in_channels, out_channels, use_norm=use_norm, last=last)
        self.relu = nn.ReLU()
        self.channel_attention = nn.Sequential(
            nn.Linear(out_channels, out_channels // 2, bias=False),
            nn.ReLU(),
            nn.Linear(out_channels // 2, out_channels, bias=False),
            nn.Sigmoid(),
        )
        self.point_attention = nn.Sequential(nn.Linear(out_channels, 1, bias=False), nn.Sigmoid())

    def forward(self, inputs: Tensor) -> Tensor:
        """[M, P, C_in] to [M, P, C_out], the last layer to [M, C_out]."""
        x: Tensor = self.linear(inputs)
        if self.norm is not None:
            x = self.norm(x.permute(0, 2, 1)).permute(0, 2, 1)
        x = self.relu(x)
        point_weight = self.point_attention(x)
        strongest, _ = torch.max(x, dim=1, keepdim=True)
        channel_weight = self.channel_attention(strongest)
        attention = point_weight * channel_weight
        x = x * (1 + attention)
        if not self.last:
            return x
        pooled, _ = torch.max(x, dim=1)
        return pooled


class SdaVfe(nn.Module):
    """Voxel features from padded points: raw, relative to the points' mean, to the voxel's centre.

    Adds `voxel_features` [M, C] to the batch. Padded points enter as zeros, but leave BatchNorm as
    its shift does: they take part in its statistics and in every maximum.
    """

    def __init__(self, settings: SdaVfeSettings, num_point_features: int) -> None:
        super().__init__()
        self.use_absolute_xyz = settings.use_abslote_xyz
        self.voxel_size = torch.tensor(settings.voxel_size)
        self.point_cloud_range = torch.tensor(settings.point_cloud_range)
        channels = num_point_features + (6 if self.use_absolute_xyz else 3)
        self.layers = nn.ModuleList()
        for index, width in enumerate(settings.num_filters, 1):
            last = index == len(settings.num_filters)
            layer = DoubleAttentionLayer(channels, width, use_norm=settings.use_norm, last=last)
            self.layers.append(layer)
            channels = width
        self.num_point_features = channels

    def forward(self, batch: Batch) -> Batch:
        """Add `voxel_features` [M, C]."""
        voxels, num_points = batch["voxels"], batch["voxel_num_points"]
        coords = without_values(batch["voxel_coords"]) if voxels.is_meta else batch["voxel_coords"]
        mean = voxels[:, :, :3].sum(dim=1, keepdim=True) / num_points.type_as(voxels).view(-1, 1, 1)
        from_mean = voxels[:, :, :3] - mean
        centre = self.centres(coords)
        from_centre = voxels[:, :, :3] - centre.type_as(voxels)
        raw = voxels if self.use_absolute_xyz else voxels[..., 3:]
        features = torch.cat([raw, from_mean, from_centre], dim=-1)
        mask = occupied_slots(num_points, features.shape[1]).unsqueeze(-1).type_as(voxels)
        features *= mask
        x = features
        for layer in self.layers:
            x = layer(x)
        batch["voxel_features"] = x
        return batch

    def centres(self, coords: Tensor) -> Tensor:
        """[M, 4] coordinates to [M, 1, 3] metres, x, y, z."""
        size, origin = self.voxel_size, self.point_cloud_range
        x, y, z = (
            coords[:, 3 - axis].float() * size[axis] + origin[axis] + size[axis] / 2
            for axis in range(3)
        )
        return torch.stack([x, y, z], dim=-1).unsqueeze(1)


@dataclass(frozen=True, slots=True, eq=False)
class PackedVoxels:
    """K points of F features in M voxels of at most P points.

    Attributes:
        points: float [K, F], sorted by voxel.
        num_points: int64 [M], points in each voxel, each at least 1; they sum to K.
        coords: float [M, 4]: sample, z, y, x.
        max_points: P.
    """

    points: Tensor
    num_points: Tensor
    coords: Tensor
    max_points: int


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Features of the points [K, C] and of each voxel's padded slots [M, C]."""

    points: Tensor
    padding: Tensor


@torch.no_grad()
def packed_voxel_features(vfe: SdaVfe, voxels: PackedVoxels) -> Tensor:
    """Voxel features [M, C] as `vfe` in training mode gives them; running statistics stay put."""
    rows = _augment(vfe, voxels)
    for layer in vfe.layers:
        assert isinstance(layer, DoubleAttentionLayer)
        rows = _attend(layer, rows, voxels)
    return _voxel_maximum(rows, voxels)


def _augment(vfe: SdaVfe, voxels: PackedVoxels) -> _Rows:
    points, counts = voxels.points, voxels.num_points
    xyz = points[:, :3]
    sums = torch.segment_reduce(xyz.contiguous(), "sum", lengths=counts, axis=0)
    mean = (sums / counts[:, None]).repeat_interleave(counts, 0)
    centre = vfe.centres(voxels.coords).squeeze(1).repeat_interleave(counts, 0)
    raw = points if vfe.use_absolute_xyz else points[:, 3:]
    features = torch.cat([raw, xyz - mean, xyz - centre], dim=-1)
    return _Rows(features, features.new_zeros(len(counts), features.shape[1]))


def _attend(layer: DoubleAttentionLayer, rows: _Rows, voxels: PackedVoxels) -> _Rows:
    linear = _Rows(layer.linear(rows.points), layer.linear(rows.padding))
    if layer.norm is not None:
        linear = _batch_norm(layer.norm, linear, voxels)
    active = _Rows(linear.points.relu_(), linear.padding.relu_())
    channel_weight = layer.channel_attention(_voxel_maximum(active, voxels))
    of_point = channel_weight.repeat_interleave(voxels.num_points, 0)
    return _Rows(
        active.points * (1 + layer.point_attention(active.points) * of_point),
        active.padding * (1 + layer.point_attention(active.padding) * channel_weight),
    )


def _batch_norm(norm: nn.BatchNorm1d, rows: _Rows, voxels: PackedVoxels) -> _Rows:
    padded = (voxels.max_points - voxels.num_points).to(rows.points.dtype)[:, None]
    slots = len(padded) * voxels.max_points
    mean = (rows.points.sum(0) + (padded * rows.padding).sum(0)) / slots
    points, padding = rows.points - mean, rows.padding - mean
    squares = points.square().sum(0) + (padded * padding.square()).sum(0)
    scale = norm.weight / (squares / slots + norm.eps).sqrt()
    return _Rows(torch.addcmul(norm.bias, points, scale), torch.addcmul(norm.bias, padding, scale))


def _voxel_maximum(rows: _Rows, voxels: PackedVoxels) -> Tensor:
    of_points = torch.segment_reduce(rows.points, "max", lengths=voxels.num_points, axis=0)
    has_padding = (voxels.num_points < voxels.max_points)[:, None]
    return torch.where(has_padding, torch.maximum(of_points, rows.padding), of_points)
