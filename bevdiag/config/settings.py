"""The checked settings that the rest of bevdiag works with; field names follow OpenPCDet's keys.

Upper-case keys of the dialect become lower-case fields (`NUM_FILTERS` -> `num_filters`); DSVT's
keys are lower-case in the YAML already. Every list shape that the original code relies on is
checked here, because the originals fail late and obscurely. Sizes are in voxels, lengths in metres,
and triples are x, y, z unless a field says otherwise.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bevdiag.config.dsvt_settings import DsvtInputSettings as DsvtInputSettings
from bevdiag.config.dsvt_settings import DsvtSettings as DsvtSettings
from bevdiag.config.fields import (
    Flag,
    Lengths,
    LowerCaseSettings,
    NonNegativeInt,
    PositiveInt,
    Range,
    Real,
    Settings,
    Triple,
    blame,
)


class SdaVfeSettings(Settings):
    """SDAVFE: padded point features with channel and point attention."""

    name: Literal["SDAVFE"]
    num_filters: tuple[PositiveInt, ...] = Field(min_length=1)
    use_norm: Flag = True
    with_distance: Flag = False
    use_abslote_xyz: Flag = True
    voxel_size: Lengths
    point_cloud_range: Range


class FocalLossSettings(Settings):
    """Focal loss on the voxel importance."""

    loss_weight: Real = 1.0
    alpha: Real = 0.25
    gamma: Real = 2.0


class FocalEncoderSettings(Settings):
    """FocalSparseEncoder of the report's repository."""

    name: Literal["FocalSparseEncoder"]
    loss_config: FocalLossSettings = FocalLossSettings()
    voxel_size: Lengths
    point_cloud_range: Range
    focal_threshold: Real = Field(default=0.5, ge=0, le=1)
    focal_topk: Flag = False


class FocalDsvtSettings(Settings):
    """FocalDSVT: the focal sparse encoder followed by DSVT on what it kept."""

    name: Literal["FocalDSVT"]
    focal_encoder: FocalEncoderSettings
    dsvt: DsvtSettings


CompressionMode = Literal[
    "none", "max", "mean", "learned", "sparse_max", "sparse_mean", "sparse_sum"
]
BevInput = Literal["dsvt", "encoder"]


class HeightCompressionSettings(Settings):
    """HeightCompression: [B, C, D, H, W] flattened to [B, C * D, H, W].

    Each entry of `height_strides` puts a sparse convolution of that kernel and stride along the
    height, with norm and ReLU, before the map: D becomes ceil(D / stride).
    """

    name: Literal["HeightCompression"]
    num_bev_features: PositiveInt
    input: BevInput = "dsvt"
    height_strides: tuple[PositiveInt, ...] = ()


class SparseHeightCompressionSettings(Settings):
    """SparseHeightCompression: the height reduced by MODE.

    `input_features` is what the learned projection reads (C * D); it is only used by MODE learned.
    """

    name: Literal["SparseHeightCompression"]
    num_bev_features: PositiveInt
    mode: CompressionMode = "max"
    input_features: PositiveInt | None = None
    input: BevInput = "dsvt"
    height_strides: tuple[PositiveInt, ...] = ()

    @model_validator(mode="after")
    def _learned_needs_input(self) -> "SparseHeightCompressionSettings":
        if self.mode == "learned" and self.input_features is None:
            raise blame("MODE", "learned needs INPUT_FEATURES, the C * D channels that it reads")
        return self


class BaseBevBackboneSettings(Settings):
    """BaseBEVBackbone: one list entry a level."""

    name: Literal["BaseBEVBackbone"]
    layer_nums: tuple[NonNegativeInt, ...]
    layer_strides: tuple[PositiveInt, ...]
    num_filters: tuple[PositiveInt, ...]
    upsample_strides: tuple[Annotated[Real, Field(gt=0)], ...] = ()
    num_upsample_filters: tuple[PositiveInt, ...] = ()
    use_conv_for_no_stride: Flag = False

    @model_validator(mode="after")
    def _levels_agree(self) -> "BaseBevBackboneSettings":
        levels = len(self.layer_nums)
        for key, length in (
            ("LAYER_STRIDES", len(self.layer_strides)),
            ("NUM_FILTERS", len(self.num_filters)),
        ):
            if length != levels:
                raise blame(key, f"expected {levels} entries as in LAYER_NUMS, found {length}")
        if 0 < len(self.upsample_strides) < levels:
            problem = f"expected none or at least {levels} entries, one a level of LAYER_NUMS"
            raise blame("UPSAMPLE_STRIDES", f"{problem}, found {len(self.upsample_strides)}")
        if len(self.upsample_strides) != len(self.num_upsample_filters):
            raise blame(
                "NUM_UPSAMPLE_FILTERS",
                f"expected {len(self.upsample_strides)} entries as in UPSAMPLE_STRIDES, "
                f"found {len(self.num_upsample_filters)}",
            )
        return self


class HeadBranchSettings(LowerCaseSettings):
    """One branch of CenterHead's HEAD_DICT."""

    out_channels: PositiveInt
    num_conv: PositiveInt


class SeparateHeadSettings(Settings):
    """The regression branches, in the order in which they are concatenated."""

    head_order: tuple[str, ...]
    head_dict: dict[str, HeadBranchSettings]

    @model_validator(mode="after")
    def _order_is_known(self) -> "SeparateHeadSettings":
        for branch in self.head_order:
            if branch not in self.head_dict:
                raise blame("HEAD_ORDER", f"{branch!r} is not defined in HEAD_DICT")
        return self


class CenterTargetSettings(Settings):
    """How CenterHead draws its targets."""

    feature_map_stride: PositiveInt
    num_max_objs: PositiveInt = 500
    gaussian_overlap: Real = Field(default=0.1, gt=0, lt=1)
    min_radius: NonNegativeInt = 2


class CenterLossWeights(LowerCaseSettings):
    """Weights of CenterHead's losses."""

    cls_weight: Real = 1.0
    loc_weight: Real = 1.0
    code_weights: tuple[Real, ...]


class CenterLossSettings(Settings):
    """CenterHead's LOSS_CONFIG."""

    loss_weights: CenterLossWeights


class CenterHeadSettings(Settings):
    """CenterHead: a shared conv, then one set of branches a group of classes."""

    name: Literal["CenterHead"]
    class_names_each_head: tuple[tuple[str, ...], ...] = Field(min_length=1)
    shared_conv_channel: PositiveInt = 64
    use_bias_before_norm: Flag = False
    num_hm_conv: PositiveInt = 2
    bn_eps: Real = 1e-5
    bn_mom: Real = 0.1
    separate_head_cfg: SeparateHeadSettings
    target_assigner_config: CenterTargetSettings
    loss_config: CenterLossSettings


VfeSettings = SdaVfeSettings
Backbone3dSettings = FocalDsvtSettings
MapToBevSettings = HeightCompressionSettings | SparseHeightCompressionSettings
Backbone2dSettings = BaseBevBackboneSettings
DenseHeadSettings = CenterHeadSettings


class ModelSettings(Settings):
    """The detector and its modules, each picked by its NAME."""

    name: Literal["CenterPoint"]
    vfe: VfeSettings
    backbone_3d: Backbone3dSettings
    map_to_bev: Annotated[MapToBevSettings, Field(discriminator="name")]
    backbone_2d: Backbone2dSettings
    dense_head: DenseHeadSettings


class OptimizationSettings(Settings):
    """OPTIMIZATION: what one training step does after the backward pass."""

    batch_size_per_gpu: PositiveInt = 1
    optimizer: Literal["adam", "adamw", "sgd", "adam_onecycle", "adam_cosineanneal"] = "adamw"
    lr: Real = Field(default=0.003, gt=0)
    weight_decay: Real = Field(default=0.01, ge=0)
    momentum: Real = Field(default=0.9, ge=0, lt=1)
    grad_norm_clip: Real = Field(default=10.0, gt=0)
    use_amp: Flag = False


class DataSettings(BaseModel):
    """What of DATA_CONFIG decides memory.

    `grid_size` is (x, y, z) in voxels. `max_points_per_voxel` and `max_voxels` (per sample, in
    training) are None where the config voxelizes dynamically, without a cap.
    """

    model_config = ConfigDict(frozen=True)

    point_cloud_range: Range
    voxel_size: Lengths
    grid_size: Triple
    max_points_per_voxel: PositiveInt | None
    max_voxels: PositiveInt | None
    point_features: tuple[str, ...]
    dataset: str = ""
