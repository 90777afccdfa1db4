"""What the modules of a detector hand to each other, known from the settings alone."""

from dataclasses import dataclass

from bevdiag.config.backbone_settings import (
    DsvtSettings,
    FocalDsvtSettings,
    VoxelBackboneSettings,
    VoxelFocalBackboneSettings,
    VoxelResBackboneSettings,
)
from bevdiag.config.bev_settings import (
    BevInput,
    PillarScatter3dSettings,
    PillarScatterSettings,
)
from bevdiag.config.head_settings import CenterHeadSettings
from bevdiag.config.model_settings import DataSettings, ModelSettings
from bevdiag.config.vfe_settings import PointNetVfeSettings, SdaVfeSettings
from bevdiag.errors import BevdiagError

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
