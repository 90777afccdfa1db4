"""What modules of a detector pass on, and what is asked of them beside their forward passes.

A batch is a dictionary, as OpenPCDet's. Keys a detector starts from, with M voxels, at most P
points of F features in each, and B samples:

- `voxels` float [M, P, F], zero beyond a voxel's points; `voxel_num_points` float [M];
- `voxel_coords` float [M, 4]: sample, z, y, x; real values even where features are meta tensors;
- `gt_boxes` float [B, boxes, 8]: x, y, z, dx, dy, dz, heading, class from 1; zero rows pad;
- `gt_boxes_host`: the same as a NumPy array, for work that the originals do on the host;
- `points` float [N, 1 + F]: sample, x, y, z and more; real values where the VFE groups points;
- `batch_size`: B.

Modules add `voxel_features`, `encoded_spconv_tensor`, `encoded_spconv_tensor_stride`,
`loss_box_of_backbone`, `pillar_features`, `spatial_features`, `spatial_features_stride` and
`spatial_features_2d`; a value lives until its key is written again or the dictionary is dropped.
"""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

Batch = dict[str, Any]


class MapToBev(nn.Module, ABC):
    """Adds `spatial_features`, the bird's-eye-view map [B, C, H, W].

    Attributes:
        num_bev_features: C as the config declares it; the 2D backbone is built for it.
    """

    num_bev_features: int

    @abstractmethod
    def real_bev_channels(self) -> int:
        """C as it follows from what the module reads.

        Raises:
            ChannelMismatch: the module itself is built for other channels than it reads.
        """


class DenseHead(nn.Module, ABC):
    """Predicts from `spatial_features_2d`, assigns targets, and keeps both for `loss`."""

    @abstractmethod
    def loss(self) -> Tensor:
        """Return the last forward pass's loss, a scalar."""
