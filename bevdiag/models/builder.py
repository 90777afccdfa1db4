"""Builds a detector from its settings."""

from typing import Any

import torch

from bevdiag.config.settings import (
    DataSettings,
    HeightCompressionSettings,
    MapToBevSettings,
    ModelSettings,
)
from bevdiag.models.backbones_2d.base_bev_backbone import BaseBevBackbone
from bevdiag.models.backbones_3d.focal_dsvt import FocalDsvt
from bevdiag.models.dense_heads.center_head import CenterHead
from bevdiag.models.detectors.center_point import CenterPoint
from bevdiag.models.map_to_bev.height_compression import HeightCompression
from bevdiag.models.map_to_bev.height_strides import SparseVolume
from bevdiag.models.map_to_bev.sparse_height_compression import SparseHeightCompression
from bevdiag.models.vfe.sda_vfe import SdaVfe


def build_detector(
    model: ModelSettings,
    data: DataSettings,
    class_names: tuple[str, ...],
    *,
    spconv: Any,
    device: torch.device | str,
) -> CenterPoint:
    """Build the detector in training mode, its parameters on `device`.

    Args:
        model: the modules.
        data: the grid and the point features.
        class_names: CLASS_NAMES.
        spconv: a namespace like `spconv.pytorch`.
        device: "meta", "cpu" or a CUDA device.

    Raises:
        ConfigError: modules that do not fit together.
    """
    device = torch.device(device)
    x, y, z = data.grid_size
    with device:
        vfe = SdaVfe(model.vfe, len(data.point_features), device)
        backbone_3d = FocalDsvt(
            model.backbone_3d,
            vfe.num_point_features,
            (z, y, x),
            bev_input=model.map_to_bev.input,
            spconv=spconv,
            device=device,
        )
        map_to_bev = _build_map_to_bev(model.map_to_bev, backbone_3d.volume, spconv)
        backbone_2d = BaseBevBackbone(model.backbone_2d, map_to_bev.num_bev_features)
        dense_head = CenterHead(model.dense_head, backbone_2d.num_bev_features, class_names, data)
        return CenterPoint(vfe, backbone_3d, map_to_bev, backbone_2d, dense_head)


def _build_map_to_bev(
    settings: MapToBevSettings, volume: SparseVolume, spconv: Any
) -> HeightCompression | SparseHeightCompression:
    if isinstance(settings, HeightCompressionSettings):
        return HeightCompression(settings, volume, spconv=spconv)
    return SparseHeightCompression(settings, volume, spconv=spconv)
