"""The camera branch makes its BEV map of other bounds than the point cloud's.

What it means:
    The two maps are laid side by side cell by cell. With other numbers of cells torch.cat stops
    the first batch; with the same number and other bounds nothing fails, and the camera's features
    lie metres away from the points they belong to.

What is printed:
    Sizes of tensors must match except in dimension # (in fuser)

Why it happens:
    XBOUND and YBOUND are written out, and stay behind when the range or the voxel size changes.

How to fix:
    Let XBOUND and YBOUND start and end where POINT_CLOUD_RANGE does, with a step that makes as many
    cells (after DOWNSAMPLE) as the LiDAR's map has.

Seen in:
    mit-han-lab/bevfusion#573 (https://github.com/mit-han-lab/bevfusion/issues/573): maps of 240 and
    of 180 cells after a change of the range.
"""

from collections.abc import Iterator
from math import isclose

from bevdiag.config.written import lengths, whole
from bevdiag.models.bev_map import bev_map
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding, Severity

_CAMERA = "MODEL.VTRANSFORM"
_RANGE = "DATA_CONFIG.POINT_CLOUD_RANGE"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for each axis with other bounds or another number of cells."""
    document = evidence.document
    bounds, lidar = lengths(document, _RANGE, 6), bev_map(evidence.parts)
    if bounds is None:
        return
    down = whole(document, f"{_CAMERA}.DOWNSAMPLE") or 1
    sides = (lidar.width, lidar.height) if lidar is not None else (None, None)
    for axis, name in enumerate(("XBOUND", "YBOUND")):
        written = lengths(document, f"{_CAMERA}.{name}", 3)
        if written is None or written[2] <= 0:
            continue
        low, high, step = written
        cells, side = round((high - low) / step / down), sides[axis]
        differs = side is not None and cells != side
        moved = not (isclose(low, bounds[axis]) and isclose(high, bounds[axis + 3]))
        if not differs and not moved:
            continue
        wanted = f"[{bounds[axis]:g}, {bounds[axis + 3]:g}]"
        count = f" in {cells} cells" + (f", and the LiDAR's map has {side}" if differs else "")
        yield finding(
            "BEV110",
            f"{name} is [{low:g}, {high:g}]{count}: POINT_CLOUD_RANGE is {wanted}",
            document=document,
            key=f"{_CAMERA}.{name}",
            module="vtransform",
            severity=None if differs else Severity.WARNING,
        )
