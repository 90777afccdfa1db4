"""The settings of the 3D backbones other than DSVT."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bevdiag.config.dsvt_settings import DsvtSettings
from bevdiag.config.fields import (
    Flag,
    Lengths,
    NonNegativeInt,
    PositiveInt,
    Range,
    Real,
    Settings,
    WholeInt,
)


def _per_axis(value: Any) -> Any:
    # spconv takes one number for all axes.
    return (value,) * 3 if isinstance(value, int) else value


Padding = Annotated[
    tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt], BeforeValidator(_per_axis)
]


class VoxelBackboneSettings(Settings):
    """VoxelBackBone8x: sparse convolutions down to an eighth of the grid."""

    name: Literal["VoxelBackBone8x"]
    last_pad: Padding = Field(default=(0, 0, 0), alias="last_pad")


class VoxelResBackboneSettings(Settings):
    """VoxelResBackBone8x: the same with residual blocks; their convolutions have a bias."""

    name: Literal["VoxelResBackBone8x"]
    last_pad: Padding = Field(default=(0, 0, 0), alias="last_pad")
    use_bias: Flag | None = None


class VoxelFocalBackboneSettings(Settings):
    """VoxelBackBone8xFocal: VoxelBackBone8x with focal convolutions behind three levels.

    `threshold` is the share of voxels that count as foreground, or (without TOPK) the importance
    above which they do; neighbours are on from that score upwards.
    """

    name: Literal["VoxelBackBone8xFocal"]
    last_pad: Padding = Field(default=(0, 0, 0), alias="last_pad")
    topk: Flag = True
    threshold: Real = Field(default=0.5, ge=0, le=1)
    mask_multi: Flag = False
    skip_mask_kernel: Flag = False
    enlarge_voxel_channels: WholeInt = -1


class FocalLossSettings(Settings):
    """Focal loss on the voxel importance, which is the channel `supervised_channel`."""

    loss_weight: Real = 1.0
    alpha: Real = 0.25
    gamma: Real = 2.0
    supervised_channel: WholeInt = -1


class FocalEncoderSettings(Settings):
    """FocalSparseEncoder of the report's repository.

    `importance_channels` are a voxel's 26 neighbours and, last, itself; `out_channels` are those of
    its volume. Both, and the channel that the loss looks at, stand in the repository's code.
    """

    name: Literal["FocalSparseEncoder"]
    loss_config: FocalLossSettings = FocalLossSettings()
    voxel_size: Lengths
    point_cloud_range: Range
    focal_threshold: Real = Field(default=0.5, ge=0, le=1)
    focal_topk: Flag = False
    importance_channels: PositiveInt = 27
    out_channels: PositiveInt = 128


class FocalDsvtSettings(Settings):
    """FocalDSVT: the focal sparse encoder followed by DSVT on what it kept."""

    name: Literal["FocalDSVT"]
    focal_encoder: FocalEncoderSettings
    dsvt: DsvtSettings


Backbone3dSettings = (
    FocalDsvtSettings
    | DsvtSettings
    | VoxelBackboneSettings
    | VoxelResBackboneSettings
    | VoxelFocalBackboneSettings
)
