"""DSVT: attention within sets of voxels, sets dealt along y and x in turn.

Its input layer makes windows, sets, position embeddings and pooling of every stage beforehand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bevdiag.config.backbone_settings import NUM_REDUCTION_HEADS, DsvtInputSettings, DsvtSettings
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


class LinearReduction(nn.Module):
    """A bias-free linear layer over all places of a pool at once, then LayerNorm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, pooled: Tensor) -> Tensor:
        """[N', places * C] to [N', C']."""
        reduced: Tensor = self.norm(self.linear1(pooled))
        return reduced


class MaxReduction(nn.Module):
    """The maximum over a pool's places."""

    def __init__(self, volume: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(volume)

    def forward(self, pooled: Tensor) -> Tensor:
        """[N', C, places] to [N', C]."""
        reduced: Tensor = self.pool(pooled).squeeze(-1)
        return reduced


class AttentionReduction(nn.Module):
    """The pool's maximum attends to its places, empty ones included."""

    def __init__(self, channels: int, volume: int) -> None:
        super().__init__()
        self.query_func = nn.MaxPool1d(volume)
        self.norm = nn.LayerNorm(channels)
        self.self_attn = nn.MultiheadAttention(channels, NUM_REDUCTION_HEADS, batch_first=True)
        self.pos_embedding = nn.Parameter(torch.randn(volume, channels))
        nn.init.normal_(self.pos_embedding, std=0.01)

    def forward(self, pooled: Tensor) -> Tensor:
        """[N', C, places] to [N', C]."""
        count, _, volume = pooled.shape
        # The original makes an integer mask, which PyTorch refuses since 2.0; nothing is masked.
        padding = torch.zeros((count, volume), dtype=torch.int32, device=pooled.device).bool()
        src = self.query_func(pooled).permute(0, 2, 1)
        key = value = pooled.permute(0, 2, 1)
        key = key + self.pos_embedding.unsqueeze(0).repeat(src.shape[0], 1, 1)
        query = src.clone()
        attended = self.self_attn(query, key, value, padding)[0]
        reduced: Tensor = self.norm(attended + src).squeeze(1)
        return reduced


def build_reduction(
    reduction_type: str, channels: int, next_channels: int, volume: int
) -> nn.Module:
    """Build the module for one transition.

    Args:
        reduction_type: "linear", "maxpool" or "attention".
        channels: C of the stage before.
        next_channels: C of the stage after; only the linear reduction can change C.
        volume: places of a pool.
    """
    if reduction_type == "linear":
        return LinearReduction(channels * volume, next_channels)
    if reduction_type == "maxpool":
        return MaxReduction(volume)
    return AttentionReduction(channels, volume)


class SetAttention(nn.Module):
    """Multi-head attention within each set, then a feed-forward network on each voxel.

    Attention maps are computed and averaged over the heads as `nn.MultiheadAttention` does by
    default, although nobody reads them: no fused kernel takes part.
    """

    def __init__(
        self, d_model: int, nhead: int, dropout: float, dim_feedforward: int, activation: str
    ) -> None:
        super().__init__()
        self.d_model = d_model
        self.self_attn = nn.MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.activation = functional.relu if activation == "relu" else functional.gelu

    def forward(self, src: Tensor, position: Tensor, repeated: Tensor, voxels: Tensor) -> Tensor:
        """Attend within sets.

        Args:
            src: [N, C].
            position: position embedding [N, C].
            repeated: bool [sets, S], slots to mask.
            voxels: int64 [sets, S], each slot's voxel; every voxel has a slot.
        """
        features = src[voxels]
        embedding = position[voxels]
        query = features + embedding
        key = features + embedding
        attended = self.self_attn(query, key, features, repeated)[0]
        slots = voxels.reshape(-1)
        unique, inverse = unique_with_inverse(slots, src.shape[0])
        first = torch.arange(inverse.size(0), dtype=inverse.dtype, device=inverse.device)
        inverse, first = inverse.flip([0]), first.flip([0])
        first = inverse.new_empty(unique.size(0)).scatter_(0, inverse, first)
        attended = attended.reshape(-1, self.d_model)[first]

        src = src + attended
        src = self.norm1(src)
        attended = self.linear2(self.activation(self.linear1(src)))
        src = src + attended
        out: Tensor = self.norm2(src)
        return out


class DsvtEncoderLayer(nn.Module):
    """Set attention with a residual around it."""

    def __init__(self, make_attention: Callable[[], SetAttention]) -> None:
        super().__init__()
        self.win_attn = make_attention()
        self.norm = nn.LayerNorm(self.win_attn.d_model)

    def forward(self, src: Tensor, position: Tensor, repeated: Tensor, voxels: Tensor) -> Tensor:
        """As `SetAttention`."""
        identity = src
        src = self.win_attn(src, position, repeated, voxels)
        src = src + identity
        out: Tensor = self.norm(src)
        return out


class DsvtBlock(nn.Module):
    """Two encoder layers: sets along y, then sets along x, both of one shift."""

    def __init__(self, make_attention: Callable[[], SetAttention]) -> None:
        super().__init__()
        self.encoder_list = nn.ModuleList(DsvtEncoderLayer(make_attention) for _ in range(2))

    def forward(
        self,
        src: Tensor,
        voxels: Sequence[Tensor],
        repeated: Sequence[Tensor],
        embeddings: Sequence[Tensor],
        block: int,
    ) -> Tensor:
        """[N, C] to [N, C]; the other arguments hold one entry a shift, each for both orders.

        The embedding is picked by the order, not by the shift: a slip of the original that its
        authors left in (DSVT issue 50).
        """
        output, shift = src, block % 2
        for order, layer in enumerate(self.encoder_list):
            output = layer(output, embeddings[order], repeated[shift][order], voxels[shift][order])
        return output


class Dsvt(nn.Module):
    """Dynamic Sparse Voxel Transformer.

    Reads `voxel_features` [N, d_model[0]] and `voxel_coords`; writes the last stage's as
    `voxel_features`, `pillar_features` and `voxel_coords`. The coordinates that it reads and writes
    are real where features are meta tensors.
    """

    def __init__(self, settings: DsvtSettings) -> None:
        super().__init__()
        self.input_layer = DsvtInputLayer(settings.input_layer)
        self.use_checkpoint = settings.USE_CHECKPOINT or settings.ues_checkpoint
        self.reduction_type = settings.reduction_type
        self.num_point_features = settings.conv_out_channel
        self.stages, self.residual_norms = nn.ModuleList(), nn.ModuleList()
        self.reductions = nn.ModuleList()
        for stage, (channels, (_, num_blocks)) in enumerate(
            zip(settings.d_model, settings.set_info, strict=True)
        ):
            make_attention = partial(
                SetAttention,
                channels,
                settings.nhead[stage],
                settings.dropout,
                settings.dim_feedforward[stage],
                settings.activation,
            )
            self.stages.append(nn.ModuleList(DsvtBlock(make_attention) for _ in range(num_blocks)))
            self.residual_norms.append(
                nn.ModuleList(nn.LayerNorm(channels) for _ in range(num_blocks))
            )
            if stage + 1 < settings.num_stages:
                volume = self.input_layer.pools[stage].volume
                self.reductions.append(
                    build_reduction(
                        settings.reduction_type, channels, settings.d_model[stage + 1], volume
                    )
                )
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and "scaler" not in name:
                nn.init.xavier_uniform_(parameter)

    def forward(self, batch: Batch) -> Batch:
        """Write `voxel_features`, `pillar_features` and `voxel_coords`."""
        features, stages = self.input_layer(batch)
        output, block = features, 0
        for index, stage in enumerate(stages):
            for i, (module, norm) in enumerate(self._blocks(index)):
                residual = output.clone()
                output = self._run(module, output, stage, i, block)
                output = norm(output + residual)
                block += 1
            if stage.pooling is not None:
                output = self._reduce(index, output, stage.pooling)
        batch["pillar_features"] = batch["voxel_features"] = output
        batch["voxel_coords"] = stages[-1].coords
        return batch

    def _blocks(self, index: int) -> Iterator[tuple[nn.Module, nn.Module]]:
        modules, norms = self.stages[index], self.residual_norms[index]
        assert isinstance(modules, nn.ModuleList)
        assert isinstance(norms, nn.ModuleList)
        return zip(modules, norms, strict=True)

    def _run(
        self, module: nn.Module, features: Tensor, stage: Stage, index: int, block: int
    ) -> Tensor:
        voxels = [sets.voxels for sets in stage.sets]
        repeated = [sets.repeated for sets in stage.sets]
        arguments = (features, voxels, repeated, stage.embeddings[index], block)
        recomputes = self.use_checkpoint and self.training
        run = partial(checkpoint, module, use_reentrant=True) if recomputes else module
        out: Tensor = run(*arguments)
        return out

    def _reduce(self, index: int, features: Tensor, pooling: Pooling) -> Tensor:
        pooled = pooling.placeholder.type_as(features)
        count, volume, _ = pooled.shape
        pooled[pooling.pool, pooling.position] = features
        pooled = pooled.view(count, -1)
        if self.reduction_type != "linear":
            pooled = pooled.view(count, volume, -1).permute(0, 2, 1)
        reduced: Tensor = self.reductions[index](pooled)
        return reduced
