"""The BEV map's sizes on the way from the 3D half to the head, known from the settings alone."""

from dataclasses import dataclass
from math import ceil, floor, prod

from bevdiag.config.bev_settings import (
    Backbone2dSettings,
    PillarScatter3dSettings,
    PillarScatterSettings,
)
from bevdiag.config.dsvt_settings import DsvtSettings
from bevdiag.config.parts import Parts, UpToMap
from bevdiag.config.settings import FocalDsvtSettings
from bevdiag.models.bev import map_input_of
from bevdiag.models.interfaces import bev_input, sparse_volume


@dataclass(frozen=True, slots=True)
class BevMap:
    """The map that the 2D backbone reads: [B, C, height, width], a cell `stride` voxels long."""

    height: int
    width: int
    stride: int


def bev_map(parts: Parts) -> BevMap | None:
    """Return the map's size, or None where it is not known."""
    made = parts.up_to_map()
    if made is None:
        return None
    mapping = made.model.map_to_bev
    scatters = isinstance(mapping, (PillarScatterSettings, PillarScatter3dSettings))
    if not scatters and sparse_volume(made.model, made.data) is None:
        return None
    map_input = map_input_of(made)
    return BevMap(map_input.height, map_input.width, _stride(made))


def level_strides(backbone: Backbone2dSettings) -> list[float]:
    """Return the stride of each level of the 2D backbone after it was brought back up."""
    ups = backbone.upsample_strides
    return [
        prod(backbone.layer_strides[: level + 1]) / ups[level]
        for level in range(len(backbone.layer_strides))
    ]


def level_sizes(backbone: Backbone2dSettings, size: int) -> list[int]:
    """One side of each level after it was brought back up, for a map of `size` cells."""
    sizes = []
    for stride, up in zip(backbone.layer_strides, backbone.upsample_strides, strict=False):
        # A padded convolution of kernel 3 rounds up; an upsampling below 1 is a convolution whose
        # kernel is its stride.
        size = ceil(size / stride)
        sizes.append(size * round(up) if up >= 1 else floor(size / round(1 / up)))
    return sizes


def head_stride(parts: Parts) -> float | None:
    """Return the stride of the map that the head reads, in voxels, or None if it is not known."""
    before, backbone = bev_map(parts), parts.backbone_2d
    if before is None or backbone is None:
        return None
    if not backbone.upsample_strides:
        return before.stride * prod(backbone.layer_strides)
    return before.stride * level_strides(backbone)[0]


def head_sides(parts: Parts) -> tuple[int, int] | None:
    """Cells along x and y of the map that the head reads, or None where nothing says them."""
    before, backbone = bev_map(parts), parts.backbone_2d
    if before is None or backbone is None:
        return None
    sides = (before.width, before.height)
    if not backbone.upsample_strides:
        stride = prod(backbone.layer_strides)
        return ceil(sides[0] / stride), ceil(sides[1] / stride)
    x, y = (level_sizes(backbone, side)[0] for side in sides)
    return x, y


def _stride(made: UpToMap) -> int:
    backbone = made.model.backbone_3d
    if isinstance(backbone, DsvtSettings):
        return prod(stride[0] for stride in backbone.input_layer.downsample_stride)
    if isinstance(backbone, FocalDsvtSettings):
        if bev_input(made.model) == "encoder":
            return 1
        return prod(stride[0] for stride in backbone.dsvt.input_layer.downsample_stride)
    return 1 if backbone is None else 8
