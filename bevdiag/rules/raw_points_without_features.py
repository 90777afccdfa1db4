"""Keypoints gather features of raw points that have none but their coordinates.

What it means:
    VoxelSetAbstraction takes what a point has beside x, y and z as its features, and there is
    nothing: the first batch ends in an AttributeError.

What is printed:
    'NoneType' object has no attribute 'contiguous' (in pfe)

Why it happens:
    PV-RCNN was written for points with an intensity; a data set without one leaves three values.

How to fix:
    Remove raw_points from FEATURES_SOURCE, or give the points a fourth value, be it a constant.

Seen in:
    open-mmlab/OpenPCDet#762 (https://github.com/open-mmlab/OpenPCDet/issues/762): PV-RCNN on a data
    set of bare coordinates.
"""

from collections.abc import Iterator

from bevdiag.config.written import text
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_USED = "DATA_CONFIG.POINT_FEATURE_ENCODING.used_feature_list"
_SOURCES = "MODEL.PFE.FEATURES_SOURCE"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding where raw points are a source and have no feature."""
    document = evidence.document
    used, sources = document.get(_USED), document.get(_SOURCES)
    if not (isinstance(used, tuple) and isinstance(sources, tuple)):
        return
    is_abstraction = text(document, "MODEL.PFE.NAME") == "VoxelSetAbstraction"
    if is_abstraction and "raw_points" in sources and len(used) <= 3:
        yield finding(
            "BEV206",
            "FEATURES_SOURCE has raw_points, whose features beside x, y and z are none",
            document=document,
            key=_SOURCES,
            module="pfe",
        )
