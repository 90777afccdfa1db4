"""CenterPoint, PointPillar and SECONDNet: the modules in a row, built from their settings."""

from typing import Any

import torch
from torch import Tensor, nn

from bevdiag.config.backbone_settings import (
    DYNAMIC_VFES,
    DsvtSettings,
    FocalDsvtSettings,
    MeanVfeSettings,
    SdaVfeSettings,
    VoxelBackboneSettings,
    VoxelFocalBackboneSettings,
)
from bevdiag.config.bev_settings import (
    BaseBevBackboneSettings,
    HeightCompressionSettings,
    PillarScatter3dSettings,
    PillarScatterSettings,
    SparseHeightCompressionSettings,
)
from bevdiag.config.head_settings import CenterHeadSettings
from bevdiag.config.model_settings import DataSettings, ModelSettings
from bevdiag.config.parts import UpToMap
from bevdiag.errors import ConfigError
from bevdiag.models.backbones_2d.base_bev_backbone import (
    BaseBevBackbone,
    BaseBevResBackbone,
    BevLevels,
)
from bevdiag.models.backbones_3d.dsvt import Dsvt
from bevdiag.models.backbones_3d.focal_dsvt import FocalDsvt
from bevdiag.models.backbones_3d.voxel_backbone import (
    VoxelBackBone8x,
    VoxelBackBone8xFocal,
    VoxelResBackBone8x,
)
from bevdiag.models.contracts import Batch, DenseHead, Detections
from bevdiag.models.dense_heads.anchor_head import AnchorHead
from bevdiag.models.dense_heads.center_head import CenterHead
from bevdiag.models.interfaces import (
    ChannelMismatch,
    bev_input,
    map_input_of,
    pillar_channels,
    sparse_volume,
    voxel_channels,
)
from bevdiag.models.map_to_bev import (
    HeightCompression,
    PillarScatter,
    SparseHeightCompression,
)
from bevdiag.models.vfe.point_net import DynamicMeanVfe, DynamicPointNetVfe, MeanVfe, PillarVfe
from bevdiag.models.vfe.sda_vfe import SdaVfe


class OneStageDetector(nn.Module):
    """A detector: forward returns the loss, in evaluation the boxes of each sample.

    A 3D backbone's own loss is not part of it, as in the original.
    """

    def __init__(
        self,
        vfe: nn.Module,
        backbone_3d: nn.Module | None,
        map_to_bev: nn.Module,
        backbone_2d: BevLevels,
        dense_head: DenseHead,
    ) -> None:
        super().__init__()
        self.register_buffer("global_step", torch.zeros(1, dtype=torch.int64))
        self.vfe = vfe
        self.backbone_3d = backbone_3d
        self.map_to_bev_module = map_to_bev
        self.backbone_2d = backbone_2d
        self.dense_head = dense_head

    def forward(self, batch: Batch) -> Tensor | list[Detections]:
        """Return the loss of a batch (see `bevdiag.models.contracts`), or what is found in it."""
        for module in self.children():
            batch = module(batch)
        return self.dense_head.loss() if self.training else self.dense_head.detect(batch)


def build_detector(
    model: ModelSettings,
    data: DataSettings,
    class_names: tuple[str, ...],
    *,
    spconv: Any,
    device: torch.device | str,
) -> OneStageDetector:
    """Build the detector in training mode, its parameters on `device`.

    Args:
        model: the modules.
        data: the grid and the point features.
        class_names: CLASS_NAMES.
        spconv: a namespace like `spconv.pytorch`.
        device: "meta", "cpu" or a CUDA device.

    Raises:
        ConfigError: modules that do not fit together.
        ChannelMismatch: the map has other channels than the config declares; the original fails in
            the first 2D convolution.
    """
    with torch.device(device):
        vfe = _build_vfe(model, data)
        backbone_3d = _build_backbone_3d(model, data, spconv)
        map_to_bev = _build_map_to_bev(model, data, spconv)
        _check_channels(model, data)
        backbone_2d = _build_backbone_2d(model)
        dense_head = _build_head(model, data, class_names, backbone_2d.num_bev_features)
        return OneStageDetector(vfe, backbone_3d, map_to_bev, backbone_2d, dense_head)


def _build_vfe(model: ModelSettings, data: DataSettings) -> nn.Module:
    num_features = len(data.point_features)
    if isinstance(model.vfe, SdaVfeSettings):
        return SdaVfe(model.vfe, num_features)
    is_dynamic = model.vfe.name in DYNAMIC_VFES
    if isinstance(model.vfe, MeanVfeSettings):
        return DynamicMeanVfe(num_features, data) if is_dynamic else MeanVfe(num_features)
    encoder = DynamicPointNetVfe if is_dynamic else PillarVfe
    return encoder(model.vfe, num_features, data)


def _build_backbone_3d(model: ModelSettings, data: DataSettings, spconv: Any) -> nn.Module | None:
    settings, channels = model.backbone_3d, voxel_channels(model, data)
    if settings is None:
        return None
    if isinstance(settings, FocalDsvtSettings):
        x, y, z = data.grid_size
        volume = sparse_volume(model, data)
        assert volume is not None
        return FocalDsvt(
            settings, channels, (z, y, x), volume, bev_input=bev_input(model), spconv=spconv
        )
    if isinstance(settings, DsvtSettings):
        if settings.d_model[0] != channels:
            raise ConfigError(
                f"DSVT reads {settings.d_model[0]} channels, but {model.vfe.name} makes "
                f"{channels}: set its first entry to {channels}",
                key="MODEL.BACKBONE_3D.d_model",
            )
        return Dsvt(settings)
    if isinstance(settings, VoxelBackboneSettings):
        return VoxelBackBone8x(settings, channels, data.grid_size, spconv=spconv)
    if isinstance(settings, VoxelFocalBackboneSettings):
        return VoxelBackBone8xFocal(settings, channels, data.grid_size, spconv=spconv)
    return VoxelResBackBone8x(settings, channels, data.grid_size, spconv=spconv)


def _build_map_to_bev(model: ModelSettings, data: DataSettings, spconv: Any) -> nn.Module:
    settings, volume = model.map_to_bev, sparse_volume(model, data)
    if isinstance(settings, PillarScatterSettings | PillarScatter3dSettings):
        grid = data.grid_size
        if isinstance(settings, PillarScatter3dSettings):
            grid = settings.input_shape
        elif grid[2] != 1:
            raise ConfigError(
                f"PointPillarScatter takes pillars, but the grid is {grid[2]} voxels high: set the "
                "voxel's height to the range's",
                key="MODEL.MAP_TO_BEV.NAME",
            )
        return PillarScatter(pillar_channels(model, data), grid, settings.num_bev_features)
    if volume is None:
        raise ConfigError(
            f"{settings.name} flattens a sparse tensor, but no module before it makes one: pillars "
            "take PointPillarScatter, DSVT's voxels PointPillarScatter3d",
            key="MODEL.MAP_TO_BEV.NAME",
        )
    if isinstance(settings, HeightCompressionSettings):
        return HeightCompression(settings, volume, spconv=spconv)
    return SparseHeightCompression(settings, volume, spconv=spconv)


def _check_channels(model: ModelSettings, data: DataSettings) -> None:
    settings, made = model.map_to_bev, map_input_of(UpToMap(model, data))
    if isinstance(settings, SparseHeightCompressionSettings) and settings.mode == "learned":
        flat, reads = made.channels * made.depth, settings.input_features
        if reads is not None and reads != flat:
            raise ChannelMismatch("map_to_bev_module.compress_conv", reads, flat)
    if made.declared != made.real:
        raise ChannelMismatch("map_to_bev_module", made.declared, made.real)


def _build_backbone_2d(model: ModelSettings) -> BevLevels:
    in_channels = model.map_to_bev.num_bev_features
    if isinstance(model.backbone_2d, BaseBevBackboneSettings):
        return BaseBevBackbone(model.backbone_2d, in_channels)
    return BaseBevResBackbone(model.backbone_2d, in_channels)


def _build_head(
    model: ModelSettings,
    data: DataSettings,
    class_names: tuple[str, ...],
    in_channels: int,
) -> DenseHead:
    if isinstance(model.dense_head, CenterHeadSettings):
        return CenterHead(model.dense_head, in_channels, class_names, data)
    return AnchorHead(model.dense_head, in_channels, class_names, data)
