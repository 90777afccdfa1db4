"""BEV305: the voxel encoder works on padding.

[M, P, C] tensors hold P slots a voxel whether or not there are points for them.
"""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding
from bevdiag.diagnose.summary import saved_bytes_by_module
from bevdiag.memory.oom import format_size

_NOTEWORTHY_BYTES = 2**30
_NOTEWORTHY_FILL = 0.5


def check(evidence: Evidence) -> Iterator[Finding]:
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
        config=evidence.config,
        key="DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_POINTS_PER_VOXEL",
        module="vfe",
    )
