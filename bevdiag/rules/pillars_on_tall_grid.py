"""Pillars are scattered onto a map, but the grid is more than one voxel high.

What it means:
    PointPillarScatter has one cell for a place on the map. With several voxels above each other it
    asserts that the grid's height is 1, and stops.

What is printed:
    assert self.nz == 1

Why it happens:
    The voxel of a pillar is as tall as the range; one of the two was changed.

How to fix:
    Set the voxel's height to the range's, or scatter with PointPillarScatter3d, which turns heights
    into channels.

Seen in:
    open-mmlab/OpenPCDet#1300 (https://github.com/open-mmlab/OpenPCDet/issues/1300): the assertion
    nz == 1 on a custom range.
"""

from collections.abc import Iterator

from bevdiag.config.written import text, voxel_size_key
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding where PointPillarScatter gets voxels above each other."""
    document, data = evidence.document, evidence.parts.data
    name = text(document, "MODEL.MAP_TO_BEV.NAME")
    if data is None or name != "PointPillarScatter" or data.grid_size[2] == 1:
        return
    low, high = data.point_cloud_range[2], data.point_cloud_range[5]
    yield finding(
        "BEV109",
        f"PointPillarScatter takes pillars, but the grid is {data.grid_size[2]} voxels high: "
        f"expected a voxel of {high - low:g} m",
        document=document,
        key=voxel_size_key(document) or "",
        module="map_to_bev_module",
    )
