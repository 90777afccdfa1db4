"""The single changes that bevdiag knows, each as an edit and with what it loses."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum

from bevdiag.config.settings import (
    DsvtSettings,
    FocalDsvtSettings,
    SparseHeightCompressionSettings,
)
from bevdiag.diagnose.bev import bev_joint
from bevdiag.diagnose.compressions import Changes, compression_changes
from bevdiag.diagnose.session import Variant
from bevdiag.scenes import Batch

_VOXELIZER = ("DATA_CONFIG", "DATA_PROCESSOR", "transform_points_to_voxels")
_MAP = ("MODEL", "MAP_TO_BEV")
_ENCODER = ("MODEL", "BACKBONE_3D", "FOCAL_ENCODER")
_DSVT = ("MODEL", "BACKBONE_3D", "DSVT")

_TOPK_SHARE = 0.1
"""With every neighbour on, a tenth of the voxels as foreground adds at most 26 / 10 of them."""

_LARGEST_STRIDE = 8
"""Merging more than eight levels in one step leaves the convolution little to tell apart."""


class Price(IntEnum):
    """What a change takes from the detector, the least first."""

    NOTHING = 0
    TIME = 1
    PRECISION = 2
    MODEL = 3
    DATA = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One change. Candidates of one `group` exclude each other.

    Attributes:
        price: how dear the loss is, as a rank.
        changes: keys of the config and their new values.
        autocast: the precision to switch to, if that is the change.
        loses: what the change costs other than memory, in a phrase.
    """

    id: str
    group: str
    price: Price
    title: str
    loses: str
    changes: Changes = field(default_factory=dict)
    autocast: str | None = None

    def applied_to(self, variant: Variant) -> Variant:
        """The variant with this change."""
        if self.autocast is not None:
            variant = replace(variant, autocast=self.autocast)
        return variant.edited(self.changes) if self.changes else variant

    def described(self) -> tuple[str, ...]:
        """The change as the user would write it."""
        edits = [f"{'.'.join(path)}: {_yaml(value)}" for path, value in self.changes.items()]
        return (*edits, *([f"--autocast {self.autocast}"] if self.autocast else []))


def candidates(variant: Variant, batch: Batch) -> Iterator[Candidate]:
    """What can be changed about this variant, the report's own remedies first."""
    yield from _compressions(variant)
    yield from _height_in_dsvt(variant)
    yield from _height_strides(variant)
    yield from _voxelization(variant, batch)
    yield from _focal_bound(variant)
    yield from _precision(variant)
    yield from _checkpointing(variant)


_COMPRESSIONS = {
    "max": "height is reduced to its maximum: targets above each other merge",
    "mean": "height is averaged, empty cells included: sparse columns fade",
    "learned": "a learned projection of all heights; keeps the flattened volume in memory",
    "sparse_max": "the same map as max, without the dense volume",
    "sparse_mean": "the same map as mean, without the dense volume",
    "sparse_sum": "height is summed: columns with more voxels weigh more",
}


def _compressions(variant: Variant) -> Iterator[Candidate]:
    if not bev_joint(variant.config).is_volume:
        return
    mapping = variant.config.model.map_to_bev
    current = mapping.mode if isinstance(mapping, SparseHeightCompressionSettings) else "none"
    for mode, loses in _COMPRESSIONS.items():
        if mode != current:
            yield Candidate(
                id=f"compression-{mode}",
                group="height",
                price=Price.MODEL,
                title=f"{mode} compression of the height",
                loses=loses,
                changes=compression_changes(variant.config, mode),
            )


def _height_in_dsvt(variant: Variant) -> Iterator[Candidate]:
    """Stages that pool the real height away, one block each; the last stage is read flat."""
    joint, backbone = bev_joint(variant.config), variant.config.model.backbone_3d
    if not isinstance(backbone, FocalDsvtSettings):
        return
    dsvt = backbone.dsvt
    z = dsvt.input_layer.sparse_shape[2]
    if joint.reads != "dsvt" or dsvt.num_stages > 1 or z == 1:
        return
    strides = height_factors(z)
    heights = [z]
    for stride in strides:
        heights.append(-(-heights[-1] // stride))
    stages = len(heights)
    window = dsvt.input_layer.window_shape[0]
    set_size = dsvt.set_info[0][0]
    shift_x, shift_y, _ = dsvt.input_layer.shifts_list[0][1]
    # A window as high as the stage: there is nothing above or below to attend to.
    windows = [[window[0], window[1], height] for height in heights]
    shared: dict[str, object] = {
        "d_model": [dsvt.d_model[0]] * stages,
        "set_info": [[set_size, 1]] * stages,
    }
    inputs: dict[str, object] = {
        **shared,
        "downsample_stride": [[1, 1, stride] for stride in strides],
        "window_shape": windows,
        "shifts_list": [[[0, 0, 0], [shift_x, shift_y, 0]]] * stages,
    }
    outer: dict[str, object] = {
        **shared,
        "block_name": ["DSVTBlock"] * stages,
        "nhead": [dsvt.nhead[0]] * stages,
        "dim_feedforward": [dsvt.dim_feedforward[0]] * stages,
        "reduction_type": "attention",
    }
    steps = " x ".join(map(str, strides))
    yield Candidate(
        id="dsvt-height-stages",
        group="height",
        price=Price.MODEL,
        title=f"DSVT pools the height {z} = {steps} in {stages} stages",
        loses="one DSVT block a stage instead of all at full height",
        changes={
            **{(*_DSVT, "INPUT_LAYER", key): value for key, value in inputs.items()},
            **{(*_DSVT, key): value for key, value in outer.items()},
            (*_MAP, "NAME"): "HeightCompression",
            (*_MAP, "NUM_BEV_FEATURES"): joint.channels,
        },
    )


def _height_strides(variant: Variant) -> Iterator[Candidate]:
    joint = bev_joint(variant.config)
    if joint.depth == 1 or not joint.is_volume:
        return
    strides = height_factors(joint.depth)
    yield Candidate(
        id="height-strides",
        group="height",
        price=Price.MODEL,
        title=f"strided 3D convolutions bring the height {joint.depth} to 1 before the map",
        loses="height resolution, by learned convolutions",
        changes={
            (*_MAP, "NAME"): "HeightCompression",
            (*_MAP, "HEIGHT_STRIDES"): strides,
            (*_MAP, "NUM_BEV_FEATURES"): joint.channels,
        },
    )


def height_factors(height: int) -> list[int]:
    """Strides whose product brings `height` down to 1, none above `_LARGEST_STRIDE` if possible.

    The prime factors, small ones multiplied together; a height with a larger prime factor is
    divided by 2, rounding up, until it has none.
    """
    strides: list[int] = []
    while height > 1:
        factor = next((f for f in range(_LARGEST_STRIDE, 1, -1) if height % f == 0), None)
        strides.append(factor or 2)
        height = -(-height // strides[-1])
    return sorted(strides)


def _voxelization(variant: Variant, batch: Batch) -> Iterator[Candidate]:
    data = variant.config.data
    if batch.voxels is None or data.max_points_per_voxel is None or data.max_voxels is None:
        return
    fullest = max(int(sample.num_points.max()) for sample in batch.voxels)
    if fullest < data.max_points_per_voxel:
        yield Candidate(
            id="fewer-points",
            group="points",
            price=Price.NOTHING,
            title=f"{fullest} point slots a voxel instead of {data.max_points_per_voxel}",
            loses=f"nothing on this scene: no voxel holds more than {fullest} points",
            changes={(*_VOXELIZER, "MAX_POINTS_PER_VOXEL"): fullest},
        )
    half = max(len(sample.coords) for sample in batch.voxels) // 2
    yield Candidate(
        id="fewer-voxels",
        group="voxels",
        price=Price.DATA,
        title=f"at most {half:,} voxels a sample",
        loses="the points of every voxel beyond that, in the order of the cloud",
        changes={(*_VOXELIZER, "MAX_NUMBER_OF_VOXELS", "train"): half},
    )


def _focal_bound(variant: Variant) -> Iterator[Candidate]:
    backbone = variant.config.model.backbone_3d
    if not isinstance(backbone, FocalDsvtSettings) or backbone.focal_encoder.focal_topk:
        return
    yield Candidate(
        id="focal-topk",
        group="growth",
        price=Price.MODEL,
        title=f"only the top {_TOPK_SHARE:.0%} of the voxels may spawn neighbours",
        loses="growth around the other voxels; the threshold holds for neighbours too",
        changes={(*_ENCODER, "FOCAL_TOPK"): True, (*_ENCODER, "FOCAL_THRESHOLD"): _TOPK_SHARE},
    )


def _precision(variant: Variant) -> Iterator[Candidate]:
    if variant.autocast == "off":
        yield Candidate(
            id="autocast-bf16",
            group="precision",
            price=Price.PRECISION,
            title="bf16 autocast",
            loses="precision of matrix products and convolutions; needs an Ampere GPU or newer",
            autocast="bf16",
        )


def _checkpointing(variant: Variant) -> Iterator[Candidate]:
    backbone = variant.config.model.backbone_3d
    # FocalDSVT's own repository reads the misspelt key and ignores the other; OpenPCDet's DSVT
    # does it the other way round.
    key: tuple[str, ...]
    if isinstance(backbone, FocalDsvtSettings):
        dsvt, key = backbone.dsvt, (*_DSVT, "ues_checkpoint")
    elif isinstance(backbone, DsvtSettings):
        dsvt, key = backbone, ("MODEL", "BACKBONE_3D", "USE_CHECKPOINT")
    else:
        return
    if not (dsvt.USE_CHECKPOINT or dsvt.ues_checkpoint):
        yield Candidate(
            id="dsvt-checkpoint",
            group="checkpoint",
            price=Price.TIME,
            title="activation checkpointing of the DSVT blocks",
            loses="time: DSVT's blocks run forward twice",
            changes={key: True},
        )


def _yaml(value: object) -> str:
    return str(value).replace("'", "").replace("True", "true").replace("False", "false")
