"""The head draws its targets on a map of another stride than it is given.

What it means:
    CenterHead turns metres into cells with FEATURE_MAP_STRIDE, but reads a map of another stride:
    the peaks it learns stand in the wrong cells, or outside the map. Nothing fails.

Why it happens:
    The stride is written out and never compared with the strides of the 3D and the 2D backbone.

How to fix:
    Write the stride that the finding names, or change the strides before the head.

Seen in:
    open-mmlab/OpenPCDet#711 (https://github.com/open-mmlab/OpenPCDet/issues/711): CenterPoint on
    KITTI learned nothing until the 2D backbone's strides agreed with FEATURE_MAP_STRIDE.
"""

from collections.abc import Iterator

from bevdiag.config.written import whole
from bevdiag.models.bev_map import head_stride
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_KEY = "MODEL.DENSE_HEAD.TARGET_ASSIGNER_CONFIG.FEATURE_MAP_STRIDE"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding where the written stride is not the map's."""
    written, real = whole(evidence.document, _KEY), head_stride(evidence.parts)
    if written is None or real is None or written == real:
        return
    yield finding(
        "BEV106",
        f"FEATURE_MAP_STRIDE is {written}, but the map that the head reads has stride {real:g}",
        document=evidence.document,
        key=_KEY,
        module="dense_head",
    )
