"""The settings of what makes the bird's-eye-view map and of the 2D backbones."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bevdiag.config.checking import (
    AxisInt,
    Flag,
    NonNegativeInt,
    PositiveInt,
    Real,
    Settings,
    Triple,
    blame,
)

CompressionMode = Literal[
    "none", "max", "mean", "learned", "sparse_max", "sparse_mean", "sparse_sum"
]
BevInput = Literal["dsvt", "encoder"]


class HeightCompressionSettings(Settings):
    """HeightCompression: [B, C, D, H, W] flattened to [B, C * D, H, W].

    Each entry of `height_strides` puts a sparse convolution of that kernel and stride along the
    height, with norm and ReLU, before the map: D becomes ceil(D / stride). `input` matters behind
    FocalDSVT alone.
    """

    name: Literal["HeightCompression"]
    num_bev_features: PositiveInt
    input: BevInput = "dsvt"
    height_strides: tuple[AxisInt, ...] = ()


class SparseHeightCompressionSettings(Settings):
    """SparseHeightCompression: the height reduced by MODE.

    `input_features` is what the learned projection reads (C * D); it is only used by MODE learned.
    """

    name: Literal["SparseHeightCompression"]
    num_bev_features: PositiveInt
    mode: CompressionMode = "max"
    input_features: PositiveInt | None = None
    input: BevInput = "dsvt"
    height_strides: tuple[AxisInt, ...] = ()

    @model_validator(mode="after")
    def _learned_needs_input(self) -> "SparseHeightCompressionSettings":
        if self.mode == "learned" and self.input_features is None:
            raise blame("MODE", "learned needs INPUT_FEATURES, the C * D channels that it reads")
        return self


class PillarScatterSettings(Settings):
    """PointPillarScatter: pillars onto the map, on a grid that is one voxel high."""

    name: Literal["PointPillarScatter"]
    num_bev_features: PositiveInt


class PillarScatter3dSettings(Settings):
    """PointPillarScatter3d: voxels onto the map, heights becoming channels.

    `input_shape` is x, y, z in voxels; a voxel brings NUM_BEV_FEATURES // z channels.
    """

    name: Literal["PointPillarScatter3d"]
    input_shape: Triple
    num_bev_features: PositiveInt


VolumeMapSettings = HeightCompressionSettings | SparseHeightCompressionSettings
"""What reads a sparse tensor; the others read pillars."""

MapToBevSettings = VolumeMapSettings | PillarScatterSettings | PillarScatter3dSettings


class BevLevelsSettings(Settings):
    """The levels of a 2D backbone: one list entry a level."""

    layer_nums: tuple[NonNegativeInt, ...]
    layer_strides: tuple[PositiveInt, ...]
    num_filters: tuple[PositiveInt, ...]
    upsample_strides: tuple[Annotated[Real, Field(gt=0)], ...] = ()
    num_upsample_filters: tuple[PositiveInt, ...] = ()

    @model_validator(mode="after")
    def _levels_agree(self) -> "BevLevelsSettings":
        levels = len(self.layer_nums)
        for key, length in (
            ("LAYER_STRIDES", len(self.layer_strides)),
            ("NUM_FILTERS", len(self.num_filters)),
        ):
            if length != levels:
                raise blame(key, f"expected {levels} entries as in LAYER_NUMS, found {length}")
        if self.upsample_strides and len(self.upsample_strides) != levels:
            problem = f"expected {levels} entries, one a level of LAYER_NUMS"
            raise blame("UPSAMPLE_STRIDES", f"{problem}, found {len(self.upsample_strides)}")
        for place, factor in enumerate(self.upsample_strides):
            if factor > 1 and not factor.is_integer():
                problem = f"expected a whole number, or one below 1, found {factor:g}"
                raise blame(f"UPSAMPLE_STRIDES.{place}", problem)
        if len(self.upsample_strides) != len(self.num_upsample_filters):
            raise blame(
                "NUM_UPSAMPLE_FILTERS",
                f"expected {len(self.upsample_strides)} entries as in UPSAMPLE_STRIDES, "
                f"found {len(self.num_upsample_filters)}",
            )
        return self


class BaseBevBackboneSettings(BevLevelsSettings):
    """BaseBEVBackbone: plain convolutions."""

    name: Literal["BaseBEVBackbone"]
    use_conv_for_no_stride: Flag = False

    @model_validator(mode="after")
    def _has_channels(self) -> "BaseBevBackboneSettings":
        if not self.upsample_strides:
            problem = f"expected {len(self.layer_nums)} entries, one a level of LAYER_NUMS"
            raise blame(
                "UPSAMPLE_STRIDES", f"{problem}: without them the head is made for 0 channels"
            )
        return self


class BaseBevResBackboneSettings(BevLevelsSettings):
    """BaseBEVResBackbone: residual blocks, LAYER_NUMS more than one a level."""

    name: Literal["BaseBEVResBackbone"]


Backbone2dSettings = BaseBevBackboneSettings | BaseBevResBackboneSettings
