"""What the modules of a detector hand to each other, known from the settings alone.

Above all the BEV map: what it is made of, and its sizes on the way to the head.
"""

from dataclasses import dataclass
from math import ceil, floor, prod
from typing import get_args

from bevdiag.config import DetectorConfig
from bevdiag.config.backbone_settings import (
    DsvtSettings,
    FocalDsvtSettings,
    PointNetVfeSettings,
    SdaVfeSettings,
    VoxelBackboneSettings,
    VoxelFocalBackboneSettings,
    VoxelResBackboneSettings,
)
from bevdiag.config.bev_settings import (
    Backbone2dSettings,
    BevInput,
    CompressionMode,
    PillarScatter3dSettings,
    PillarScatterSettings,
    SparseHeightCompressionSettings,
)
from bevdiag.config.head_settings import CenterHeadSettings
from bevdiag.config.model_settings import DataSettings, ModelSettings
from bevdiag.config.parts import Parts, UpToMap
from bevdiag.errors import BevdiagError, InputError

SpatialShape = tuple[int, int, int]
"""Extents z, y, x."""

_EighthSettings = VoxelBackboneSettings | VoxelResBackboneSettings | VoxelFocalBackboneSettings

VOXEL_BACKBONE_CHANNELS = 128
PLAIN_BOX_VALUES = 8
"""Values of a ground-truth box: x, y, z, dx, dy, dz, heading, class."""


@dataclass(frozen=True, slots=True)
class SparseVolume:
    """What a 3D backbone hands over: a sparse tensor of C channels on a grid of z, y, x cells."""

    channels: int
    spatial_shape: SpatialShape


def voxel_channels(model: ModelSettings, data: DataSettings) -> int:
    """Channels of the VFE's voxel features."""
    if isinstance(model.vfe, (PointNetVfeSettings, SdaVfeSettings)):
        return model.vfe.num_filters[-1]
    return len(data.point_features)


def pillar_channels(model: ModelSettings, data: DataSettings) -> int:
    """Channels of `pillar_features`: DSVT's where there is one, else the VFE's."""
    if isinstance(model.backbone_3d, DsvtSettings):
        return model.backbone_3d.d_model[-1]
    return voxel_channels(model, data)


def sparse_volume(model: ModelSettings, data: DataSettings) -> SparseVolume | None:
    """Return the sparse tensor that is there for MAP_TO_BEV, None where no module makes one."""
    backbone = model.backbone_3d
    if isinstance(backbone, FocalDsvtSettings):
        if bev_input(model) == "encoder":
            channels = backbone.focal_encoder.out_channels
            return SparseVolume(channels, data.grid_size[::-1])
        last = stage_shapes(backbone.dsvt)[-1]
        return SparseVolume(backbone.dsvt.d_model[-1], last[::-1])
    if isinstance(backbone, _EighthSettings):
        return SparseVolume(VOXEL_BACKBONE_CHANNELS, _eighth(data, backbone.last_pad))
    return None


def bev_input(model: ModelSettings) -> BevInput:
    """Whose tensor FocalDSVT leaves for MAP_TO_BEV."""
    mapping = model.map_to_bev
    if isinstance(mapping, (PillarScatterSettings, PillarScatter3dSettings)):
        return "encoder"
    return mapping.input


def box_values(model: ModelSettings) -> int:
    """Values of a ground-truth box; those beyond the plain ones are a velocity, as a rule."""
    head = model.dense_head
    if isinstance(head, CenterHeadSettings):
        # CenterHead's codes have a cosine and a sine where a box has a heading, and no class.
        return len(head.loss_config.loss_weights.code_weights)
    return head.target_assigner_config.box_coder_config.code_size + 1


def uses_direct_table(model: ModelSettings) -> bool:
    """Return what the originals set spconv's SPCONV_USE_DIRECT_TABLE to as they import it.

    OpenPCDet (pcdet/utils/spconv_utils.py) switches it off. The focal detector's repository was
    forked before that and keeps spconv's own choice.
    """
    return isinstance(model.backbone_3d, FocalDsvtSettings)


def stage_shapes(dsvt: DsvtSettings) -> list[tuple[int, int, int]]:
    """DSVT's sparse shape (x, y, z) in each stage: each transition divides, rounding up."""
    shapes = [dsvt.input_layer.sparse_shape]
    for dx, dy, dz in dsvt.input_layer.downsample_stride:
        x, y, z = shapes[-1]
        shapes.append((-(-x // dx), -(-y // dy), -(-z // dz)))
    return shapes


def _eighth(data: DataSettings, last_pad: tuple[int, int, int]) -> SpatialShape:
    """VoxelBackBone8x's last grid: three strides of 2, then one of 2 along the height alone.

    All axes are padded by 1, but the height not in the third stride and only by `last_pad` in the
    fourth.
    """
    x, y, z = data.grid_size
    z = eighth_heights(z, last_pad[0])[-1]
    y, x = (_halved(_halved(_halved(size, 1), 1), 1) for size in (y, x))
    return z, y + 2 * last_pad[1], x + 2 * last_pad[2]


def eighth_heights(grid_height: int, last_pad: int = 0) -> tuple[int, ...]:
    """Return the heights, in voxels, of VoxelBackBone8x and its kind: at first, then strided.

    The first grid is one voxel higher than the config's; each kernel is 3 wide. A height below 1
    is one that spconv refuses.
    """
    heights = [grid_height + 1]
    for padding in (1, 1, 0, last_pad):
        heights.append(_halved(heights[-1], padding))
    return tuple(heights)


def _halved(size: int, padding: int) -> int:
    return (size + 2 * padding - 3) // 2 + 1


class ChannelMismatch(BevdiagError):  # noqa: N818 - named after what is found
    """A module was declared for one number of channels and is fed another.

    Attributes:
        module: path of the module whose declaration is wrong, e.g. "map_to_bev_module".
        declared: channels that the config declares.
        found: channels that arrive.
    """

    def __init__(self, module: str, declared: int, found: int) -> None:
        self.module = module
        self.declared = declared
        self.found = found
        super().__init__(
            f"{module} declares {declared} channels, but {found} arrive: declare {found}"
        )

    def __reduce__(self) -> tuple[type["ChannelMismatch"], tuple[str, int, int]]:
        """How it travels between processes."""
        return type(self), (self.module, self.declared, self.found)


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
        stride: voxels along a cell of the map.
    """

    reads: str
    channels: int
    depth: int
    height: int
    width: int
    declared: int
    real: int
    flattens: bool
    stride: int

    @property
    def is_volume(self) -> bool:
        """Whether a sparse volume is turned into the map."""
        return self.reads != PILLARS


def map_input_of(config: DetectorConfig | UpToMap) -> MapInput:
    """Derive the map_input from the settings alone."""
    model, data, mapping = config.model, config.data, config.model.map_to_bev
    volume = sparse_volume(model, data)
    if isinstance(mapping, (PillarScatterSettings, PillarScatter3dSettings)) or volume is None:
        channels, (x, y, z) = pillar_channels(model, data), data.grid_size
        if isinstance(mapping, PillarScatter3dSettings):
            x, y, z = mapping.input_shape
        reads, real, flattens = PILLARS, channels * z, False
    else:
        of_focal = isinstance(model.backbone_3d, FocalDsvtSettings)
        reads = bev_input(model) if of_focal else "backbone_3d"
        channels, (z, y, x) = volume.channels, volume.spatial_shape
        for stride in mapping.height_strides:
            z = ceil(z / stride)
        mode = mapping.mode if isinstance(mapping, SparseHeightCompressionSettings) else "none"
        flat = {"none": channels * z, "learned": mapping.num_bev_features}
        real, flattens = flat.get(mode, channels), mode in flat
    return MapInput(
        reads=reads,
        channels=channels,
        depth=z,
        height=y,
        width=x,
        declared=mapping.num_bev_features,
        real=real,
        flattens=flattens,
        stride=_stride(model),
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


def bev_map(parts: Parts) -> MapInput | None:
    """Return what the map is made of, or None where it is not known."""
    made = parts.up_to_map()
    if made is None:
        return None
    mapping = made.model.map_to_bev
    scatters = isinstance(mapping, (PillarScatterSettings, PillarScatter3dSettings))
    if not scatters and sparse_volume(made.model, made.data) is None:
        return None
    return map_input_of(made)


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


def _stride(model: ModelSettings) -> int:
    backbone = model.backbone_3d
    if backbone is None or (
        isinstance(backbone, FocalDsvtSettings) and bev_input(model) == "encoder"
    ):
        return 1
    dsvt = backbone.dsvt if isinstance(backbone, FocalDsvtSettings) else backbone
    if not isinstance(dsvt, DsvtSettings):
        return 8
    return prod(stride[0] for stride in dsvt.input_layer.downsample_stride)
