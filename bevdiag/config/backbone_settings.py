"""The settings of the VFEs and 3D backbones, and the checks that DSVT's own code lacks."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from bevdiag.config.checking import (
    Flag,
    Lengths,
    LowerCaseSettings,
    NonNegativeInt,
    PositiveInt,
    Range,
    Real,
    Settings,
    Shift,
    Triple,
    WholeInt,
    blame,
)

DYNAMIC_VFES = frozenset({"DynMeanVFE", "DynPillarVFE", "DynamicVoxelVFE"})
"""The encoders that group the points themselves, on the device and without a cap; the others read
padded voxels."""


class MeanVfeSettings(Settings):
    """The mean of each voxel's points."""

    name: Literal["MeanVFE", "DynMeanVFE"]


class PointNetVfeSettings(Settings):
    """A PointNet in each pillar or (DynamicVoxelVFE) voxel; none of its keys has a default there.

    Every layer but the last gives half of its filters to a point and half to its voxel's maximum.
    """

    name: Literal["PillarVFE", "DynPillarVFE", "DynamicVoxelVFE"]
    num_filters: tuple[PositiveInt, ...] = Field(min_length=1)
    use_norm: Flag
    with_distance: Flag
    use_abslote_xyz: Flag

    @model_validator(mode="after")
    def _halves(self) -> "PointNetVfeSettings":
        for place, width in enumerate(self.num_filters[:-1]):
            if width % 2:
                problem = "half of every layer's filters but the last's are a point's own: expected"
                raise blame(f"NUM_FILTERS.{place}", f"{problem} an even number, found {width}")
        return self


class SdaVfeSettings(Settings):
    """SDAVFE: padded point features with channel and point attention."""

    name: Literal["SDAVFE"]
    num_filters: tuple[PositiveInt, ...] = Field(min_length=1)
    use_norm: Flag = True
    with_distance: Flag = False
    use_abslote_xyz: Flag = True
    voxel_size: Lengths
    point_cloud_range: Range


VfeSettings = MeanVfeSettings | PointNetVfeSettings | SdaVfeSettings


NUM_REDUCTION_HEADS = 8
"""Heads of the attention that pools between stages; the original does not let it be set."""


class DsvtInputSettings(LowerCaseSettings):
    """DSVT's INPUT_LAYER; one entry a stage unless a field says otherwise."""

    sparse_shape: Triple
    downsample_stride: tuple[Triple, ...]
    d_model: tuple[PositiveInt, ...] = Field(min_length=1)
    set_info: tuple[tuple[PositiveInt, PositiveInt], ...]
    window_shape: tuple[Triple, ...]
    hybrid_factor: Triple
    shifts_list: tuple[tuple[Shift, Shift], ...]
    normalize_pos: Flag = False


class DsvtSettings(LowerCaseSettings):
    """DSVT: a list entry a stage; `set_info` holds [set_size, number of blocks]."""

    name: Literal["DSVT"] = Field(alias="NAME")
    input_layer: DsvtInputSettings = Field(alias="INPUT_LAYER")
    block_name: tuple[Literal["DSVTBlock"], ...] = Field(min_length=1)
    set_info: tuple[tuple[PositiveInt, PositiveInt], ...]
    d_model: tuple[PositiveInt, ...]
    nhead: tuple[PositiveInt, ...]
    dim_feedforward: tuple[PositiveInt, ...]
    dropout: Real = Field(default=0.0, ge=0, lt=1)
    activation: Literal["relu", "gelu"] = "gelu"
    reduction_type: Literal["attention", "maxpool", "linear"] = "attention"
    output_shape: tuple[PositiveInt, PositiveInt]
    conv_out_channel: PositiveInt
    USE_CHECKPOINT: Flag = False
    ues_checkpoint: Flag = False

    @property
    def num_stages(self) -> int:
        return len(self.block_name)

    @model_validator(mode="after")
    def _agrees(self) -> "DsvtSettings":
        self._check_stages()
        self._check_copies()
        self._check_heads()
        self._check_windows()
        return self

    def _check_stages(self) -> None:
        stages, inputs = self.num_stages, self.input_layer
        own = ("set_info", "d_model", "nhead", "dim_feedforward")
        of_inputs = ("d_model", "set_info", "window_shape", "shifts_list")
        lists = {key: getattr(self, key) for key in own}
        lists |= {f"INPUT_LAYER.{key}": getattr(inputs, key) for key in of_inputs}
        for key, entries in lists.items():
            if (length := len(entries)) != stages:
                problem = f"expected one entry for each of the {stages} stage(s) of block_name"
                raise blame(key, f"{problem}, found {length}")
        if len(inputs.downsample_stride) != stages - 1:
            raise blame(
                "INPUT_LAYER.downsample_stride",
                f"expected {stages - 1} entries, one [dx, dy, dz] for each transition between the "
                f"{stages} stage(s) of block_name, found {len(inputs.downsample_stride)}",
            )

    def _check_copies(self) -> None:
        for key in ("d_model", "set_info"):
            inner, outer = getattr(self.input_layer, key), getattr(self, key)
            if inner != outer:
                raise blame(f"INPUT_LAYER.{key}", f"expected the same list as DSVT's own {key}")

    def _check_heads(self) -> None:
        for d_model, nhead in zip(self.d_model, self.nhead, strict=True):
            if d_model % nhead:
                raise blame("nhead", f"expected a divisor of d_model {d_model}, found {nhead}")
        for d_model in self.d_model[:-1] if self.reduction_type == "attention" else ():
            if d_model % NUM_REDUCTION_HEADS:
                problem = f"reduction_type attention has {NUM_REDUCTION_HEADS} heads"
                raise blame("d_model", f"{problem}: expected a multiple of it, found {d_model}")

    def _check_windows(self) -> None:
        x, y, z = self.input_layer.sparse_shape
        if z >= x:
            problem = "expected [x, y, z] with z below x, as DSVT asserts"
            raise blame("INPUT_LAYER.sparse_shape", f"{problem}, found {[x, y, z]}")
        strides = ((1, 1, 1), *self.input_layer.downsample_stride)
        for stage, window in enumerate(self.input_layer.window_shape):
            z = -(-z // strides[stage][2])
            # DSVT sizes the position embedding by the grid's height and feeds it by the window's.
            for window_z in (window[2], window[2] * self.input_layer.hybrid_factor[2]):
                if (z == 1) != (window_z == 1):
                    problem = f"the stage's grid is {z} voxels high but a window of it {window_z}"
                    key = f"INPUT_LAYER.window_shape.{stage}"
                    raise blame(key, f"{problem}: expected both to be 1 or neither")


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
