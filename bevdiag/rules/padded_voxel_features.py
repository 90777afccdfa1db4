"""The voxel encoder works on padding.

What it means:
    A GiB or more of what the encoder keeps for the backward pass is slots of voxels that hold no
    point.

Why it happens:
    transform_points_to_voxels pads every voxel to MAX_POINTS_PER_VOXEL points, and encoders of
    PointNet's kind run on all [M, P, C] slots. Few voxels are ever full.

How to fix:
    Lower MAX_POINTS_PER_VOXEL to what most voxels hold, or take an encoder that groups the points
    themselves (DynPillarVFE, DynamicVoxelVFE), which has no slots to pad.

Seen in:
    open-mmlab/mmdetection3d#239 (https://github.com/open-mmlab/mmdetection3d/issues/239): out of
    memory in the voxel encoder, from a padded canvas of voxels x points x features.
"""

from collections.abc import Iterator

from bevdiag.memory.lifetimes import saved_bytes_by_module
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding
from bevdiag.rules.fix import VOXELIZER, Fix, Fixable, Price

_NOTEWORTHY_BYTES = 2**30
_NOTEWORTHY_FILL = 0.5
_SYNTHETIC = "a synthetic scene does not say how full the voxels of your data are"


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where mostly padding costs a GiB or more until the backward pass."""
    voxels = evidence.batch.voxels
    slots = evidence.config.data.max_points_per_voxel
    if voxels is None or slots is None:
        return
    saved = saved_bytes_by_module(evidence.trace.stream).get("vfe", 0)
    points = sum(int(sample.num_points.sum()) for sample in voxels)
    fill = points / (evidence.batch.num_voxels * slots)
    if saved < _NOTEWORTHY_BYTES or fill > _NOTEWORTHY_FILL:
        return
    yield finding(
        "BEV305",
        f"the voxel encoder keeps {format_size(saved)} for the backward pass, {1 - fill:.1%} of it "
        f"padding: {slots} slots a voxel for {points / evidence.batch.num_voxels:.1f} points on "
        "average",
        document=evidence.document,
        key="DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_POINTS_PER_VOXEL",
        module="vfe",
    )


def fixes(step: Fixable) -> Iterator[Fix]:
    """As many slots as the fullest voxel fills."""
    voxels = step.batch().voxels
    if voxels is None or step.max_points is None or step.max_voxels is None:
        return
    fullest = max(int(sample.num_points.max()) for sample in voxels)
    if fullest < step.max_points:
        yield Fix(
            id="fewer-points",
            group="points",
            price=Price.NOTHING,
            title=f"{fullest} point slots a voxel instead of {step.max_points}",
            loses=f"nothing on this scene: no voxel holds more than {fullest} points",
            edits={(*VOXELIZER, "MAX_POINTS_PER_VOXEL"): fullest},
            unsafe="" if step.own_points else _SYNTHETIC,
        )
