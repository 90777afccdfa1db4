"""The number of voxels has no cap: the next scene decides what a step needs.

What it means:
    The encoder groups all points of a scene itself. The figures hold for this scene; one with more
    occupied cells takes more memory, and nothing in the config stops it.

Why it happens:
    Dynamic voxel encoders have neither MAX_NUMBER_OF_VOXELS nor MAX_POINTS_PER_VOXEL: they lose no
    point, and bound no memory.

How to fix:
    Inspect with the fullest scenes of the data set (--points), sample the points (sample_points in
    the DATA_PROCESSOR), narrow the range, or take an encoder with capped voxels.

Seen in:
    open-mmlab/mmdetection3d#239 (https://github.com/open-mmlab/mmdetection3d/issues/239): out of
    memory with dynamic voxels where capped ones ran, on scenes with many points.
"""

from collections.abc import Iterator

from bevdiag.memory.lifetimes import saved_bytes_by_module
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding

_FEATURES = ("voxel_features", "pillar_features")
_VOXEL_MODULES = ("vfe", "backbone_3d")


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where no voxel cap stands between the points and the memory."""
    if evidence.config.data.max_voxels is not None:
        return
    shapes = [e.shape for e in evidence.trace.wiring.written_inside("vfe") if e.key in _FEATURES]
    if not shapes or shapes[0] is None:
        return
    voxels = shapes[0][0]
    saved = saved_bytes_by_module(evidence.trace.stream)
    each = sum(saved.get(module, 0) for module in _VOXEL_MODULES) // voxels
    yield finding(
        "BEV303",
        f"nothing caps the voxels: this scene has {voxels:,} from {len(evidence.batch.points):,} "
        f"points, and each keeps about {format_size(each)} for the backward pass",
        document=evidence.document,
        key="MODEL.VFE.NAME",
        module="vfe",
    )
