"""MeanVFE: the mean of each voxel's points."""

import torch
from torch import nn

from bevdiag.models.batch import Batch


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
