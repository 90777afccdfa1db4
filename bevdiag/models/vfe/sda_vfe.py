"""SDAVFE: padded points with stacked channel and point attention."""

import torch
from torch import Tensor, nn

from bevdiag.config.settings import SdaVfeSettings
from bevdiag.models.contracts import Batch
from bevdiag.models.sized_ops import without_values


class DoubleAttentionLayer(nn.Module):
    """Linear, BatchNorm and ReLU on every point, scaled by 1 + point attention * channel attention.

    The last layer of a stack takes the maximum over a voxel's points.
    """

    def __init__(self, in_channels: int, out_channels: int, *, use_norm: bool, last: bool) -> None:
        super().__init__()
        self.last = last
        self.linear = nn.Linear(in_channels, out_channels, bias=not use_norm)
        self.norm = nn.BatchNorm1d(out_channels, eps=1e-3, momentum=0.01) if use_norm else None
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

    def __init__(
        self, settings: SdaVfeSettings, num_point_features: int, device: torch.device
    ) -> None:
        super().__init__()
        self.use_absolute_xyz = settings.use_abslote_xyz
        self.voxel_size = torch.tensor(settings.voxel_size, device=device)
        self.point_cloud_range = torch.tensor(settings.point_cloud_range, device=device)
        channels = [num_point_features + (6 if self.use_absolute_xyz else 3), *settings.num_filters]
        self.layers = nn.ModuleList(
            DoubleAttentionLayer(
                channels[i],
                channels[i + 1],
                use_norm=settings.use_norm,
                last=i + 2 == len(channels),
            )
            for i in range(len(channels) - 1)
        )
        self.num_point_features = channels[-1]

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


def occupied_slots(num_points: Tensor, max_points: int) -> Tensor:
    """Bool [M, P] from the voxels' points [M]: whether a slot holds one."""
    slots = torch.arange(max_points, dtype=torch.int, device=num_points.device).view(1, -1)
    return num_points.unsqueeze(1).int() > slots
