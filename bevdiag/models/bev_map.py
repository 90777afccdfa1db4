"""What the BEV map is made of, and its sizes on the way to the head, known from settings alone."""

from dataclasses import dataclass
from math import ceil, floor, prod
from typing import get_args

from bevdiag.config import DetectorConfig
from bevdiag.config.backbone_settings import DsvtSettings, FocalDsvtSettings
from bevdiag.config.bev_settings import (
    Backbone2dSettings,
    CompressionMode,
    PillarScatter3dSettings,
    PillarScatterSettings,
    SparseHeightCompressionSettings,
)
from bevdiag.config.parts import Parts, UpToMap
from bevdiag.errors import InputError
from bevdiag.models.interfaces import bev_input, pillar_channels, sparse_volume

PILLARS = "pillars"
Changes = dict[tuple[str, ...], object]
"""Keys of a config and their new values."""
MODES: tuple[str, ...] = get_args(CompressionMode)
LEARNED_CHANNELS = 256
"""What the report's own learned projection declares (its NUM_BEV_FEATURES)."""
_MAP = ("MODEL", "MAP_TO_BEV")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInput:
    """What the BEV map is made of, and what becomes of its channels.

    Attributes:
        reads: whose volume is flattened, "dsvt", "encoder" or "backbone_3d"; "pillars" where
            pillars or voxels are scattered and no volume is made.
        channels: C of the volume [B, C, D, H, W]; `depth`, `height` and `width` its D, H, W.
        declared: NUM_BEV_FEATURES, what the 2D backbone is built for.
        real: the channels that arrive there.
        flattens: whether the volume's full height becomes channels.
    """

    reads: str
    channels: int
    depth: int
    height: int
    width: int
    declared: int
    real: int
    flattens: bool

    @property
    def is_volume(self) -> bool:
        """Whether a sparse volume is turned into the map."""
        return self.reads != PILLARS


def map_input_of(config: DetectorConfig | UpToMap) -> MapInput:
    """Derive the map_input from the settings alone."""
    model, mapping = config.model, config.model.map_to_bev
    volume = sparse_volume(model, config.data)
    if isinstance(mapping, (PillarScatterSettings, PillarScatter3dSettings)) or volume is None:
        return _pillar_input(config)
    reads = bev_input(model) if isinstance(model.backbone_3d, FocalDsvtSettings) else "backbone_3d"
    mode = mapping.mode if isinstance(mapping, SparseHeightCompressionSettings) else "none"
    z, y, x = volume.spatial_shape
    for stride in mapping.height_strides:
        z = ceil(z / stride)
    flat = {"none": volume.channels * z, "learned": mapping.num_bev_features}
    return MapInput(
        reads=reads,
        channels=volume.channels,
        depth=z,
        height=y,
        width=x,
        declared=mapping.num_bev_features,
        real=flat.get(mode, volume.channels),
        flattens=mode in flat,
    )


def _pillar_input(config: DetectorConfig | UpToMap) -> MapInput:
    mapping, channels = config.model.map_to_bev, pillar_channels(config.model, config.data)
    x, y, z = config.data.grid_size
    if isinstance(mapping, PillarScatter3dSettings):
        x, y, z = mapping.input_shape
    return MapInput(
        reads=PILLARS,
        channels=channels,
        depth=z,
        height=y,
        width=x,
        declared=mapping.num_bev_features,
        real=channels * z,
        flattens=False,
    )


def compression_changes(config: DetectorConfig, mode: str) -> Changes:
    """Return the keys that switch a config to `mode`, with the channels that follow from it.

    Raises:
        InputError: no such mode, or no volume that it could reduce.
    """
    if mode not in MODES:
        raise InputError(f"--compression {mode!r} is unknown: choose from {', '.join(MODES)}")
    map_input = map_input_of(config)
    if not map_input.is_volume:
        if mode == "none":
            return {}
        name = config.model.map_to_bev.name
        raise InputError(f"--compression {mode}: {name} scatters pillars, there is no height to it")
    flat = map_input.channels * map_input.depth
    if mode == "none":
        return {(*_MAP, "NAME"): "HeightCompression", (*_MAP, "NUM_BEV_FEATURES"): flat}
    changes: Changes = {
        (*_MAP, "NAME"): "SparseHeightCompression",
        (*_MAP, "MODE"): mode,
        (*_MAP, "NUM_BEV_FEATURES"): map_input.channels,
    }
    if mode == "learned":
        changes[(*_MAP, "INPUT_FEATURES")] = flat
        changes[(*_MAP, "NUM_BEV_FEATURES")] = LEARNED_CHANNELS
    return changes


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
