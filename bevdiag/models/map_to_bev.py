"""From sparse 3D features to a dense bird's-eye-view map.

HeightCompression and SparseHeightCompression make the heights channels or reduce them to one;
PointPillarScatter and PointPillarScatter3d lay pillars and voxels onto the map.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bevdiag.config.bev_settings import (
    HeightCompressionSettings,
    SparseHeightCompressionSettings,
)
from bevdiag.models.contracts import Batch
from bevdiag.models.interfaces import SparseVolume


class HeightCompression(nn.Module):
    """Densifies [B, C, D, H, W], behind the strides, and flattens it to [B, C * D, H, W]."""

    def __init__(
        self,
        settings: HeightCompressionSettings | SparseHeightCompressionSettings,
        volume: SparseVolume,
        *,
        spconv: Any,
    ) -> None:
        super().__init__()
        self.num_bev_features = settings.num_bev_features
        self.height_strides = None
        if settings.height_strides:
            self.height_strides = HeightStrides(settings.height_strides, volume, spconv=spconv)

    def forward(self, batch: Batch) -> Batch:
        """Add `spatial_features`, the bird's-eye-view map [B, C', H, W], and their stride."""
        sparse = batch["encoded_spconv_tensor"]
        if self.height_strides is not None:
            sparse = self.height_strides(sparse)
        batch["spatial_features"] = self._map_of(sparse)
        batch["spatial_features_stride"] = batch["encoded_spconv_tensor_stride"]
        return batch

    def _map_of(self, sparse: Any) -> Tensor:
        dense: Tensor = sparse.dense()
        b, c, d, h, w = dense.shape
        return dense.view(b, c * d, h, w)


class HeightStrides(nn.Module):
    """For each stride s a sparse convolution of kernel and stride (s, 1, 1), BatchNorm and ReLU.

    Each takes D to ceil(D / s): the height is padded below and above by half of what it lacks to a
    multiple of s, rounded up, so that no level is dropped. Channels stay as they are.
    """

    def __init__(self, strides: Sequence[int], volume: SparseVolume, *, spconv: Any) -> None:
        super().__init__()
        channels, depth = volume.channels, volume.spatial_shape[0]
        layers: list[nn.Module] = []
        for stride in strides:
            layers += [
                spconv.SparseConv3d(
                    channels,
                    channels,
                    (stride, 1, 1),
                    stride=(stride, 1, 1),
                    padding=((-depth % stride + 1) // 2, 0, 0),
                    bias=False,
                ),
                nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01),
                nn.ReLU(),
            ]
            depth = -(-depth // stride)
        self.layers = spconv.SparseSequential(*layers)

    def forward(self, sparse: Any) -> Any:
        """Turn a sparse tensor on the full height into one on the reduced height."""
        return self.layers(sparse)


class SparseHeightCompression(HeightCompression):
    """Reduces [B, C, D, H, W] to [B, C', H, W] by MODE.

    - none: C' = C * D, as HeightCompression; max, mean: over D on the dense tensor, empty cells
      counting as zeros; learned: flattened, then a 1x1 convolution with BatchNorm and ReLU.
    - sparse_max, sparse_mean: the same maps as max and mean, reduced straight from the sparse
      tensor; sparse_sum: the sum over D.
    """

    def __init__(
        self, settings: SparseHeightCompressionSettings, volume: SparseVolume, *, spconv: Any
    ) -> None:
        super().__init__(settings, volume, spconv=spconv)
        self.mode = settings.mode
        if settings.mode == "learned":
            assert settings.input_features is not None
            self.compress_conv = nn.Sequential(
                nn.Conv2d(settings.input_features, settings.num_bev_features, 1, bias=False),
                nn.BatchNorm2d(settings.num_bev_features),
                nn.ReLU(),
            )

    def _map_of(self, sparse: Any) -> Tensor:
        if self.mode.startswith("sparse_"):
            return self._reduce_sparse(sparse)
        if self.mode == "max":
            strongest: Tensor = sparse.dense().max(dim=2)[0]
            return strongest
        if self.mode == "mean":
            mean: Tensor = sparse.dense().mean(dim=2)
            return mean
        flat = super()._map_of(sparse)
        return self.compress_conv(flat) if self.mode == "learned" else flat

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


class PillarScatter(nn.Module):
    """Scatters `pillar_features` [N, C] into [B, C * nz, ny, nx], sample by sample.

    Args:
        channels: C.
        grid_size: nx, ny, nz.
        declared: C * nz, as the config has it.
    """

    def __init__(self, channels: int, grid_size: tuple[int, int, int], declared: int) -> None:
        super().__init__()
        self.nx, self.ny, self.nz = grid_size
        self.channels = channels
        self.num_bev_features = declared

    def forward(self, batch: Batch) -> Batch:
        """Add `spatial_features` [B, C * nz, ny, nx] from `pillar_features` and `voxel_coords`."""
        pillar_features, coords = batch["pillar_features"], batch["voxel_coords"]
        batch_size = batch["batch_size"]
        maps = []
        # One loop, as in the original: a sample's pillars live until the next one's are made.
        for sample in range(batch_size):
            cells = torch.zeros(
                self.channels,
                self.nz * self.nx * self.ny,
                dtype=pillar_features.dtype,
                device=pillar_features.device,
            )
            mask = coords[:, 0] == sample
            own = coords[mask, :]
            index = own[:, 1] * self.ny * self.nx + own[:, 2] * self.nx + own[:, 3]
            index = index.type(torch.long)
            pillars = pillar_features[mask, :].t()
            cells[:, index] = pillars
            maps.append(cells)
        stacked = torch.stack(maps, 0)
        batch["spatial_features"] = stacked.view(
            batch_size, self.channels * self.nz, self.ny, self.nx
        )
        return batch
