"""SparseHeightCompression: heights reduced to one, on the dense tensor or without making it."""

from typing import Any

import torch
from torch import Tensor, nn

from bevdiag.config.settings import SparseHeightCompressionSettings
from bevdiag.models.batch import Batch
from bevdiag.models.channels import ChannelMismatch
from bevdiag.models.contracts import MapToBev
from bevdiag.models.interfaces import SparseVolume
from bevdiag.models.map_to_bev.height_strides import HeightStrides


class SparseHeightCompression(MapToBev):
    """Reduces [B, C, D, H, W] to [B, C', H, W] by MODE.

    - none: C' = C * D, as HeightCompression; max, mean: over D on the dense tensor, empty cells
      counting as zeros; learned: flattened, then a 1x1 convolution with BatchNorm and ReLU.
    - sparse_max, sparse_mean: the same maps as max and mean, reduced straight from the sparse
      tensor; sparse_sum: the sum over D.
    """

    def __init__(
        self, settings: SparseHeightCompressionSettings, volume: SparseVolume, *, spconv: Any
    ) -> None:
        super().__init__()
        self.height_strides = None
        if settings.height_strides:
            self.height_strides = HeightStrides(settings.height_strides, volume, spconv=spconv)
            volume = self.height_strides.volume
        self.volume = volume
        self.mode = settings.mode
        self.num_bev_features = settings.num_bev_features
        self.input_features = settings.input_features
        if settings.mode == "learned":
            assert settings.input_features is not None
            self.compress_conv = nn.Sequential(
                nn.Conv2d(settings.input_features, settings.num_bev_features, 1, bias=False),
                nn.BatchNorm2d(settings.num_bev_features),
                nn.ReLU(),
            )

    def real_bev_channels(self) -> int:
        """Channels of the map, from the volume behind the strides.

        Raises:
            ChannelMismatch: the learned projection reads another number than C * D.
        """
        flat = self.volume.channels * self.volume.spatial_shape[0]
        if self.mode == "none":
            return flat
        if self.mode != "learned":
            return self.volume.channels
        assert self.input_features is not None
        if self.input_features != flat:
            raise ChannelMismatch("map_to_bev_module.compress_conv", self.input_features, flat)
        return self.num_bev_features

    def forward(self, batch: Batch) -> Batch:
        """Add `spatial_features` [B, C', H, W] and their stride."""
        sparse = batch["encoded_spconv_tensor"]
        if self.height_strides is not None:
            sparse = self.height_strides(sparse)
        if self.mode.startswith("sparse_"):
            spatial_features = self._reduce_sparse(sparse)
        else:
            spatial_features = sparse.dense()
            b, c, d, h, w = spatial_features.shape
            if self.mode == "max":
                spatial_features = spatial_features.max(dim=2)[0]
            elif self.mode == "mean":
                spatial_features = spatial_features.mean(dim=2)
            else:
                spatial_features = spatial_features.view(b, c * d, h, w)
                if self.mode == "learned":
                    spatial_features = self.compress_conv(spatial_features)
        batch["spatial_features"] = spatial_features
        batch["spatial_features_stride"] = batch["encoded_spconv_tensor_stride"]
        return batch

    def _reduce_sparse(self, sparse: Any) -> Tensor:
        depth, height, width = sparse.spatial_shape
        features = sparse.features
        index = sparse.indices.long()
        column = (index[:, 0] * height + index[:, 2]) * width + index[:, 3]
        cells = sparse.batch_size * height * width
        columns = torch.zeros(
            (cells, features.shape[1]), dtype=features.dtype, device=features.device
        )
        if self.mode == "sparse_max":
            columns = _without_floor_where_full(columns, column, depth)
            target = column[:, None].expand(-1, features.shape[1])
            columns = columns.scatter_reduce(0, target, features, "amax")
        else:
            columns = columns.index_add(0, column, features)
            if self.mode == "sparse_mean":
                columns = columns / depth
        grid = columns.view(sparse.batch_size, height, width, -1)
        return grid.permute(0, 3, 1, 2).contiguous()


def _without_floor_where_full(columns: Tensor, column: Tensor, depth: int) -> Tensor:
    """Zeros are the floor of every column with an empty cell; a full one has none."""
    occupied = torch.zeros(len(columns), dtype=torch.int, device=columns.device)
    one = torch.ones(len(column), dtype=torch.int, device=columns.device)
    occupied.index_add_(0, column, one)
    return columns.masked_fill_((occupied == depth)[:, None], -torch.inf)
