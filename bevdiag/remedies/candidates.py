"""The single changes that `bevdiag inspect` tries, each as an edit and with what it loses."""

from collections.abc import Iterator

from bevdiag.config.settings import DsvtSettings, FocalDsvtSettings
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.remedies.candidate import Candidate, Price
from bevdiag.remedies.height import height_changes
from bevdiag.scenes import Batch

VOXELIZER = ("DATA_CONFIG", "DATA_PROCESSOR", "transform_points_to_voxels")
ENCODER = ("MODEL", "BACKBONE_3D", "FOCAL_ENCODER")
DSVT = ("MODEL", "BACKBONE_3D", "DSVT")

TOPK_SHARE = 0.1
"""With every neighbour on, a tenth of the voxels as foreground adds at most 26 / 10 of them."""


def candidates(source: BuiltIn) -> Iterator[Candidate]:
    """What can be changed about this source, the report's own remedies first."""
    yield from height_changes(source)
    yield from _voxelization(source, source.batch())
    yield from _focal_bound(source)
    yield from _precision(source)
    yield from _checkpointing(source)


def _voxelization(source: BuiltIn, batch: Batch) -> Iterator[Candidate]:
    data = source.config.data
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
            changes={(*VOXELIZER, "MAX_POINTS_PER_VOXEL"): fullest},
        )
    half = max(len(sample.coords) for sample in batch.voxels) // 2
    yield Candidate(
        id="fewer-voxels",
        group="voxels",
        price=Price.DATA,
        title=f"at most {half:,} voxels a sample",
        loses="the points of every voxel beyond that, in the order of the cloud",
        changes={(*VOXELIZER, "MAX_NUMBER_OF_VOXELS", "train"): half},
    )


def _focal_bound(source: BuiltIn) -> Iterator[Candidate]:
    backbone = source.config.model.backbone_3d
    if not isinstance(backbone, FocalDsvtSettings) or backbone.focal_encoder.focal_topk:
        return
    yield Candidate(
        id="focal-topk",
        group="growth",
        price=Price.MODEL,
        title=f"only the top {TOPK_SHARE:.0%} of the voxels may spawn neighbours",
        loses="growth around the other voxels; the threshold holds for neighbours too",
        changes={(*ENCODER, "FOCAL_TOPK"): True, (*ENCODER, "FOCAL_THRESHOLD"): TOPK_SHARE},
    )


def _precision(source: BuiltIn) -> Iterator[Candidate]:
    if source.autocast == "off":
        yield Candidate(
            id="autocast-bf16",
            group="precision",
            price=Price.PRECISION,
            title="bf16 autocast",
            loses="precision of matrix products and convolutions; needs an Ampere GPU or newer",
            autocast="bf16",
        )


def _checkpointing(source: BuiltIn) -> Iterator[Candidate]:
    backbone = source.config.model.backbone_3d
    # FocalDSVT's own repository reads the misspelt key and ignores the other; OpenPCDet's DSVT
    # does it the other way round.
    key: tuple[str, ...]
    if isinstance(backbone, FocalDsvtSettings):
        dsvt, key = backbone.dsvt, (*DSVT, "ues_checkpoint")
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
