"""The range is no whole number of voxels along an axis.

What it means:
    The grid that the model is built for is rounded, while points and boxes keep their places: the
    last row of voxels hangs over the range, or the points of a rim fall outside the grid and are
    dropped. Training runs; only a range without a single voxel stops it.

Why it happens:
    OpenPCDet divides the range by the voxel size and rounds. A voxel size was changed without its
    range, or the range is a rounded figure itself.

How to fix:
    Let the range end at one of the places that the finding names, or take one of its voxel sizes.

Seen in:
    open-mmlab/mmdetection3d#1803 (https://github.com/open-mmlab/mmdetection3d/issues/1803): a
    sparse shape that is no whole number, from a range that is no multiple of the voxel.
"""

from collections.abc import Iterator

from bevdiag.config.grid import misfit, rounded_voxels, whole_voxels
from bevdiag.config.written import lengths, voxel_size_key
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding, Severity


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for every axis."""
    document = evidence.document
    key = voxel_size_key(document)
    bounds = lengths(document, "DATA_CONFIG.POINT_CLOUD_RANGE", 6)
    size = lengths(document, key, 3) if key is not None else None
    if key is None or bounds is None or size is None:
        return
    for axis in range(3):
        low, high, voxel = bounds[axis], bounds[axis + 3], size[axis]
        if high > low and voxel > 0 and whole_voxels(low, high, voxel) is None:
            is_none = rounded_voxels(low, high, voxel) is None
            yield finding(
                "BEV101",
                misfit(axis, low, high, voxel),
                document=document,
                key=key,
                severity=Severity.ERROR if is_none else None,
            )
