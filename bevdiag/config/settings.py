"""The checked settings that the rest of bevdiag works with; field names follow OpenPCDet's keys.

Upper-case keys of the dialect become lower-case fields (`NUM_FILTERS` -> `num_filters`); DSVT's keys
are lower-case in the YAML already. Every list shape that the original code relies on is checked
here, because the originals fail late and obscurely. Sizes are in voxels, lengths in metres, and
triples are x, y, z unless a field says otherwise.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _plain_int(value: Any) -> Any:
    # YAML booleans are ints to Python; a size of `yes` is a mistake, not 1.
    if isinstance(value, bool):
        raise ValueError("expected a whole number, found a boolean")
    return value


PositiveInt = Annotated[int, BeforeValidator(_plain_int), Field(gt=0, lt=2**31)]
Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
Shift = tuple[int, int, int]


class Settings(BaseModel):
    """Base of all settings: immutable; keys bevdiag does not know are kept aside, not refused."""

    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, alias_generator=str.upper
    )


class LowerCaseSettings(BaseModel):
    """For DSVT, whose keys are lower-case."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class SdaVfeSettings(Settings):
    """SDAVFE: padded point features with channel and point attention."""

    name: Literal["SDAVFE"]
    num_filters: tuple[PositiveInt, ...] = Field(min_length=1)
    use_norm: bool = True
    with_distance: bool = False
    use_abslote_xyz: bool = True
    voxel_size: tuple[float, float, float]
    point_cloud_range: tuple[float, float, float, float, float, float]


class FocalLossSettings(Settings):
    """Focal loss on the voxel importance."""

    loss_weight: float = 1.0
    alpha: float = 0.25
    gamma: float = 2.0


class FocalEncoderSettings(Settings):
    """FocalSparseEncoder of the report's repository."""

    name: Literal["FocalSparseEncoder"]
    loss_config: FocalLossSettings = FocalLossSettings()
    voxel_size: tuple[float, float, float]
    point_cloud_range: tuple[float, float, float, float, float, float]
    focal_threshold: float = Field(default=0.5, ge=0, le=1)
    focal_topk: bool = False


class DsvtInputSettings(LowerCaseSettings):
    """DSVT's INPUT_LAYER; one entry a stage unless a field says otherwise."""

    sparse_shape: Triple
    downsample_stride: tuple[Triple, ...]
    d_model: tuple[PositiveInt, ...] = Field(min_length=1)
    set_info: tuple[tuple[PositiveInt, PositiveInt], ...]
    window_shape: tuple[Triple, ...]
    hybrid_factor: Triple
    shifts_list: tuple[tuple[Shift, Shift], ...]
    normalize_pos: bool = False


class DsvtSettings(LowerCaseSettings):
    """DSVT: a list entry a stage; `set_info` holds [set_size, number of blocks]."""

    NAME: Literal["DSVT"]
    INPUT_LAYER: DsvtInputSettings
    block_name: tuple[Literal["DSVTBlock"], ...] = Field(min_length=1)
    set_info: tuple[tuple[PositiveInt, PositiveInt], ...]
    d_model: tuple[PositiveInt, ...]
    nhead: tuple[PositiveInt, ...]
    dim_feedforward: tuple[PositiveInt, ...]
    dropout: float = Field(default=0.0, ge=0, lt=1)
    activation: Literal["relu", "gelu"] = "gelu"
    reduction_type: Literal["attention", "maxpool", "linear"] = "attention"
    output_shape: tuple[PositiveInt, PositiveInt]
    conv_out_channel: PositiveInt
    USE_CHECKPOINT: bool = False
    ues_checkpoint: bool = False

    @property
    def name(self) -> str:
        return self.NAME

    @property
    def input_layer(self) -> DsvtInputSettings:
        return self.INPUT_LAYER

    @property
    def num_stages(self) -> int:
        return len(self.block_name)

    @model_validator(mode="after")
    def _stages_agree(self) -> "DsvtSettings":
        stages, inputs = self.num_stages, self.INPUT_LAYER
        lengths = {
            "set_info": len(self.set_info),
            "d_model": len(self.d_model),
            "nhead": len(self.nhead),
            "dim_feedforward": len(self.dim_feedforward),
            "INPUT_LAYER.d_model": len(inputs.d_model),
            "INPUT_LAYER.set_info": len(inputs.set_info),
            "INPUT_LAYER.window_shape": len(inputs.window_shape),
            "INPUT_LAYER.shifts_list": len(inputs.shifts_list),
        }
        for key, length in lengths.items():
            if length != stages:
                raise ValueError(
                    f"{key} has {length} entries, but block_name names {stages} stage(s): "
                    "give one entry a stage"
                )
        if len(inputs.downsample_stride) != stages - 1:
            raise ValueError(
                f"INPUT_LAYER.downsample_stride has {len(inputs.downsample_stride)} entries, "
                f"but {stages} stage(s) are joined by {stages - 1} transition(s): give one "
                "[dx, dy, dz] a transition"
            )
        if self.d_model != inputs.d_model:
            raise ValueError("d_model and INPUT_LAYER.d_model differ: they must be the same list")
        if self.set_info != inputs.set_info:
            raise ValueError("set_info and INPUT_LAYER.set_info differ: they must be the same list")
        for d_model, nhead in zip(self.d_model, self.nhead, strict=True):
            if d_model % nhead:
                raise ValueError(f"d_model {d_model} is not divisible by nhead {nhead}")
        x, _, z = inputs.sparse_shape
        if z >= x:
            raise ValueError(
                f"INPUT_LAYER.sparse_shape {list(inputs.sparse_shape)} has z >= x: DSVT takes "
                "[x, y, z] and asserts z < x"
            )
        return self


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
    """HeightCompression: [B, C, D, H, W] flattened to [B, C * D, H, W]."""

    name: Literal["HeightCompression"]
    num_bev_features: PositiveInt
    input: BevInput = "dsvt"


class SparseHeightCompressionSettings(Settings):
    """SparseHeightCompression: the height reduced by MODE.

    `input_features` is what the learned projection reads (C * D); it is only used by MODE learned.
    """

    name: Literal["SparseHeightCompression"]
    num_bev_features: PositiveInt
    mode: CompressionMode = "max"
    input_features: PositiveInt | None = None
    input: BevInput = "dsvt"

    @model_validator(mode="after")
    def _learned_needs_input(self) -> "SparseHeightCompressionSettings":
        if self.mode == "learned" and self.input_features is None:
            raise ValueError("MODE learned needs INPUT_FEATURES, the C * D channels it reads")
        return self


class BaseBevBackboneSettings(Settings):
    """BaseBEVBackbone: one list entry a level."""

    name: Literal["BaseBEVBackbone"]
    layer_nums: tuple[Annotated[int, Field(ge=0)], ...]
    layer_strides: tuple[PositiveInt, ...]
    num_filters: tuple[PositiveInt, ...]
    upsample_strides: tuple[Annotated[float, Field(gt=0)], ...] = ()
    num_upsample_filters: tuple[PositiveInt, ...] = ()
    use_conv_for_no_stride: bool = False

    @model_validator(mode="after")
    def _levels_agree(self) -> "BaseBevBackboneSettings":
        levels = len(self.layer_nums)
        for key, length in (
            ("LAYER_STRIDES", len(self.layer_strides)),
            ("NUM_FILTERS", len(self.num_filters)),
        ):
            if length != levels:
                raise ValueError(f"{key} has {length} entries, but LAYER_NUMS has {levels}")
        if len(self.upsample_strides) != len(self.num_upsample_filters):
            raise ValueError(
                f"NUM_UPSAMPLE_FILTERS has {len(self.num_upsample_filters)} entries, but "
                f"UPSAMPLE_STRIDES has {len(self.upsample_strides)}"
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
                raise ValueError(f"HEAD_ORDER names {branch!r}, which HEAD_DICT does not define")
        return self


class CenterTargetSettings(Settings):
    """How CenterHead draws its targets."""

    feature_map_stride: PositiveInt
    num_max_objs: PositiveInt = 500
    gaussian_overlap: float = Field(default=0.1, gt=0, lt=1)
    min_radius: int = Field(default=2, ge=0)


class CenterLossWeights(LowerCaseSettings):
    """Weights of CenterHead's losses."""

    cls_weight: float = 1.0
    loc_weight: float = 1.0
    code_weights: tuple[float, ...]


class CenterLossSettings(Settings):
    """CenterHead's LOSS_CONFIG."""

    loss_weights: CenterLossWeights


class CenterHeadSettings(Settings):
    """CenterHead: a shared conv, then one set of branches a group of classes."""

    name: Literal["CenterHead"]
    class_names_each_head: tuple[tuple[str, ...], ...] = Field(min_length=1)
    shared_conv_channel: PositiveInt = 64
    use_bias_before_norm: bool = False
    num_hm_conv: PositiveInt = 2
    bn_eps: float = 1e-5
    bn_mom: float = 0.1
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
    lr: float = Field(default=0.003, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    grad_norm_clip: float = Field(default=10.0, gt=0)
    use_amp: bool = False


class DataSettings(BaseModel):
    """What of DATA_CONFIG decides memory.

    `grid_size` is (x, y, z) in voxels. `max_points_per_voxel` and `max_voxels` (per sample, in
    training) are None where the config voxelizes dynamically, without a cap.
    """

    model_config = ConfigDict(frozen=True)

    point_cloud_range: tuple[float, float, float, float, float, float]
    voxel_size: tuple[float, float, float]
    grid_size: Triple
    max_points_per_voxel: PositiveInt | None
    max_voxels: PositiveInt | None
    point_features: tuple[str, ...]
    dataset: str = ""
