"""DSVT's input layer: windows, sets, position embeddings and pooling of every stage."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.config.backbone_settings import DsvtInputSettings
from bevdiag.models.backbones_3d.dsvt_sets import (
    PoolGrid,
    SetPartition,
    Triple,
    WindowGrid,
    partition,
)
from bevdiag.models.backbones_3d.focal_growth import Coords
from bevdiag.models.contracts import Batch
from bevdiag.models.sized_ops import to_device, unique_with_inverse, without_values

_PI = 3.1415
"""As the original has it."""


@dataclass(frozen=True, slots=True, eq=False)
class Pooling:
    """From a stage of N voxels to the next of N'.

    Attributes:
        pool: int64 [N], which voxel of the next stage.
        position: int64 [N], which place within its pool.
        placeholder: float [N', places, C], zeros.
        coords: int64 [N', 4].
    """

    pool: Tensor
    position: Tensor
    placeholder: Tensor
    coords: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One stage's partition. Everything in it lives until DSVT's forward pass ends.

    Attributes:
        coords: int64 [N, 4].
        windows: each shift's window index [N] and position in the window [N, 3].
        sets: each shift's partition.
        embeddings: float [N, C] for each block and shift.
        pooling: to the next stage; None at the last.
    """

    coords: Tensor
    windows: tuple[tuple[Tensor, Tensor], ...]
    sets: tuple[SetPartition, ...]
    embeddings: tuple[tuple[Tensor, ...], ...]
    pooling: Pooling | None


class PositionEmbedding(nn.Module):
    """Linear, BatchNorm, ReLU, Linear from a position in a window to C channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.position_embedding_head = nn.Sequential(
            nn.Linear(in_channels, out_channels),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(inplace=True),
            nn.Linear(out_channels, out_channels),
        )

    def forward(self, positions: Tensor) -> Tensor:
        """[N, 2 or 3] to [N, C]."""
        embedded: Tensor = self.position_embedding_head(positions)
        return embedded


class DsvtInputLayer(nn.Module):
    """Computes every stage's partition before the first block runs."""

    def __init__(self, settings: DsvtInputSettings) -> None:
        super().__init__()
        self.settings = settings
        self.pools: list[PoolGrid] = []
        shape: Triple = settings.sparse_shape
        self.sparse_shapes = [shape]
        for stride in settings.downsample_stride:
            self.pools.append(PoolGrid(self.sparse_shapes[-1], stride))
            self.sparse_shapes.append(self.pools[-1].next_shape)
        self.grids = [self._grids_of(stage) for stage in range(len(settings.d_model))]
        self.posembed_layers = nn.ModuleList(
            nn.ModuleList(
                nn.ModuleList(
                    PositionEmbedding(3 if shape[2] > 1 else 2, channels) for _ in range(2)
                )
                for _ in range(num_blocks)
            )
            for shape, channels, (_, num_blocks) in zip(
                self.sparse_shapes, settings.d_model, settings.set_info, strict=True
            )
        )

    def forward(self, batch: Batch) -> tuple[Tensor, list[Stage]]:
        """Copy `voxel_features` [N, C] and partition `voxel_coords` [N, 4]."""
        features = batch["voxel_features"]
        coords = batch["voxel_coords"].long()
        first_features = features.clone()
        host: Coords | None = coords.numpy() if features.is_meta else None
        first_coords = coords.clone()
        stages: list[Stage] = []
        for stage in range(len(self.sparse_shapes)):
            stages.append(self._partition(stage, first_features, first_coords, host))
            pooling = stages[-1].pooling
            if pooling is not None:
                first_coords = pooling.coords
                host = None if host is None else self.pools[stage].pooled(host)
        return first_features, stages

    def _grids_of(self, stage: int) -> tuple[WindowGrid, WindowGrid]:
        settings, shape = self.settings, self.sparse_shapes[stage]
        x, y, z = settings.window_shape[stage]
        fx, fy, fz = settings.hybrid_factor
        plain, shifted = settings.shifts_list[stage]
        return (
            WindowGrid(shape, (x, y, z), plain),
            WindowGrid(shape, (x * fx, y * fy, z * fz), shifted),
        )

    def _partition(
        self, stage: int, features: Tensor, coords: Tensor, host: Coords | None
    ) -> Stage:
        grids, (set_size, num_blocks) = self.grids[stage], self.settings.set_info[stage]
        # What is computed from the coordinates decides no shape that `host` does not tell.
        placed = coords if host is None else without_values(coords)
        with torch.no_grad():
            windows = tuple(grid.place(placed) for grid in grids)
        sets = tuple(
            partition(*place, grid, set_size, None if host is None else grid.occupancy(host))
            for place, grid in zip(windows, grids, strict=True)
        )
        embeddings = tuple(
            tuple(self._embed(stage, block, shift, windows[shift][1]) for shift in range(2))
            for block in range(num_blocks)
        )
        pooling = self._pool(stage, features, placed, host) if stage < len(self.pools) else None
        return Stage(coords, windows, sets, embeddings, pooling)

    def _embed(self, stage: int, block: int, shift: int, inner: Tensor) -> Tensor:
        x_extent, y_extent, z_extent = self.grids[stage][shift].window
        flat = z_extent == 1
        z = inner[:, 0] - (0 if flat else z_extent) / 2
        y, x = inner[:, 1] - y_extent / 2, inner[:, 2] - x_extent / 2
        if self.settings.normalize_pos:
            x = x / x_extent * 2 * _PI
            y = y / y_extent * 2 * _PI
            z = z / z_extent * 2 * _PI
        location = torch.stack((x, y) if flat else (x, y, z), dim=-1)
        embedded: Tensor = self.posembed_layers[stage][block][shift](location)  # type: ignore[index]
        return embedded

    @torch.no_grad()
    def _pool(self, stage: int, features: Tensor, coords: Tensor, host: Coords | None) -> Pooling:
        grid = self.pools[stage]
        index, position, next_coords = grid.place(coords)
        pooled = None if host is None else grid.pooled(host)
        size = None if pooled is None else len(pooled)
        unique, inverse = unique_with_inverse(index, size)
        placeholder = features.new_zeros((len(unique), grid.volume, self.settings.d_model[stage]))
        kept, group = unique.clone(), inverse.clone()
        first = torch.arange(group.size(0), dtype=group.dtype, device=group.device)
        group, first = group.flip([0]), first.flip([0])
        first = group.new_empty(kept.size(0)).scatter_(0, group, first)
        if pooled is None:
            return Pooling(inverse, position, placeholder, next_coords[first])
        coords = to_device(pooled.astype(np.int64), features.device, keep_values=True)
        return Pooling(inverse, position, placeholder, coords)
