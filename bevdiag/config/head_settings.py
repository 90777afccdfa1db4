"""The settings of the dense heads."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bevdiag.config.checking import (
    AxisInt,
    Coordinate,
    Flag,
    Lengths,
    LowerCaseSettings,
    NonNegativeInt,
    PositiveInt,
    Real,
    Settings,
    blame,
)

_CHANNELS = {"center": 2, "center_z": 1, "dim": 3, "rot": 2, "iou": 1}
"""Of CenterHead's branches: x and y in the cell, z, extents, the heading's cosine and sine."""


class HeadBranchSettings(LowerCaseSettings):
    """One branch of CenterHead's HEAD_DICT."""

    out_channels: PositiveInt
    num_conv: PositiveInt


class SeparateHeadSettings(Settings):
    """The regression branches, in the order in which they are concatenated."""

    head_order: tuple[str, ...] = Field(min_length=1)
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
    num_max_objs: AxisInt = 500
    gaussian_overlap: Real = Field(default=0.1, gt=0, lt=1)
    min_radius: NonNegativeInt = 2


class LossWeights(LowerCaseSettings):
    """Weights of a head's losses."""

    cls_weight: Real = 1.0
    loc_weight: Real = 1.0
    code_weights: tuple[Real, ...]


class CenterLossSettings(Settings):
    """CenterHead's LOSS_CONFIG."""

    loss_weights: LossWeights


class CenterHeadSettings(Settings):
    """CenterHead: a shared conv, then one set of branches a group of classes.

    A branch named iou predicts each box's IoU; IOU_REG_LOSS adds a loss on the decoded boxes, which
    the original only decodes where that branch is.
    """

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
    iou_reg_loss: Flag = False

    @model_validator(mode="after")
    def _branches_agree(self) -> "CenterHeadSettings":
        branches, order = self.separate_head_cfg.head_dict, self.separate_head_cfg.head_order
        for name, width in _CHANNELS.items():
            if name not in order and name != "iou":
                raise blame("SEPARATE_HEAD_CFG.HEAD_ORDER", f"expected {name} among its branches")
            if name in branches and (found := branches[name].out_channels) != width:
                key = f"SEPARATE_HEAD_CFG.HEAD_DICT.{name}.out_channels"
                raise blame(key, f"expected {width}, as a box is coded, found {found}")
        codes = sum(branches[name].out_channels for name in order)
        weights = len(self.loss_config.loss_weights.code_weights)
        if weights != codes:
            problem = f"expected {codes} entries, one a channel of HEAD_ORDER's branches"
            raise blame("LOSS_CONFIG.LOSS_WEIGHTS.code_weights", f"{problem}, found {weights}")
        if self.iou_reg_loss and "iou" not in self.separate_head_cfg.head_dict:
            raise blame("IOU_REG_LOSS", "expected an iou branch in HEAD_DICT beside it")
        return self


class AnchorClassSettings(LowerCaseSettings):
    """One class's anchors: sizes x rotations x heights at every cell of the map."""

    class_name: str
    anchor_sizes: tuple[Lengths, ...] = Field(min_length=1)
    anchor_rotations: tuple[Coordinate, ...] = Field(min_length=1)
    anchor_bottom_heights: tuple[Coordinate, ...] = Field(min_length=1)
    align_center: Flag = False
    feature_map_stride: PositiveInt
    matched_threshold: Real
    unmatched_threshold: Real

    @property
    def num_anchors(self) -> int:
        """Anchors a cell."""
        return len(self.anchor_sizes) * len(self.anchor_rotations) * len(self.anchor_bottom_heights)


class BoxCoderSettings(LowerCaseSettings):
    """BOX_CODER_CONFIG: the codes of a box, with one more where its angle is a sine and cosine."""

    code_size: Annotated[int, Field(strict=True, ge=7)] = 7
    encode_angle_by_sincos: Flag = False

    @property
    def num_codes(self) -> int:
        """Codes of a box."""
        return self.code_size + self.encode_angle_by_sincos


class AnchorTargetSettings(Settings):
    """How AnchorHeadSingle assigns boxes to anchors."""

    name: Literal["AxisAlignedTargetAssigner"]
    norm_by_num_examples: Flag
    box_coder: Literal["ResidualCoder"]
    box_coder_config: BoxCoderSettings = BoxCoderSettings()


class AnchorLossWeights(LossWeights):
    """Weights of AnchorHeadSingle's losses."""

    dir_weight: Real = 1.0


class AnchorLossSettings(Settings):
    """AnchorHeadSingle's LOSS_CONFIG."""

    reg_loss_type: Literal["WeightedSmoothL1Loss"] = "WeightedSmoothL1Loss"
    loss_weights: AnchorLossWeights


class AnchorHeadSettings(Settings):
    """AnchorHeadSingle: 1x1 convolutions that rate and shift anchors at every cell.

    The direction classifier is there wherever its key is, even if it says False.
    """

    name: Literal["AnchorHeadSingle"]
    use_direction_classifier: Flag | None = None
    dir_offset: Real = 0.0
    num_dir_bins: PositiveInt = 2
    anchor_generator_config: tuple[AnchorClassSettings, ...] = Field(min_length=1)
    target_assigner_config: AnchorTargetSettings
    loss_config: AnchorLossSettings

    @property
    def num_anchors(self) -> int:
        """Anchors a cell, of all classes."""
        return sum(entry.num_anchors for entry in self.anchor_generator_config)

    @model_validator(mode="after")
    def _agrees(self) -> "AnchorHeadSettings":
        strides = {entry.feature_map_stride for entry in self.anchor_generator_config}
        if len(strides) > 1:
            problem = f"expected one feature_map_stride for all classes, found {sorted(strides)}"
            raise blame("ANCHOR_GENERATOR_CONFIG", problem)
        # The classes' anchors are joined along their sizes, so the other axes must be as long.
        for key in ("anchor_rotations", "anchor_bottom_heights"):
            lengths = [len(getattr(entry, key)) for entry in self.anchor_generator_config]
            if len(set(lengths)) > 1:
                problem = f"expected as many {key} for every class, found {lengths}"
                raise blame("ANCHOR_GENERATOR_CONFIG", problem)
        codes = self.target_assigner_config.box_coder_config.num_codes
        weights = len(self.loss_config.loss_weights.code_weights)
        if weights != codes:
            problem = f"expected {codes} entries, one a code of a box, found {weights}"
            raise blame("LOSS_CONFIG.LOSS_WEIGHTS.code_weights", problem)
        return self


DenseHeadSettings = CenterHeadSettings | AnchorHeadSettings
