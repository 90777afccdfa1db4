"""SDAVFE's training forward pass on packed points, without the padded tensor.

All padded slots of a voxel enter as zeros, so every layer gives them one common value: a single
row a voxel, weighted with the number of its padded slots in BatchNorm's statistics, stands for
them. The result equals the padded module's up to rounding, at a fraction of its memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bevdiag.models.vfe.sda_vfe import DoubleAttentionLayer, SdaVfe


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
