"""Rules about the grid of voxels and its height."""

from collections.abc import Iterator
from itertools import count

from bevdiag.config.grid import misfit, rounded_voxels, whole_voxels
from bevdiag.config.written import lengths, text, voxel_size_key, whole
from bevdiag.models.interfaces import eighth_heights
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding, Severity

_EIGHTH = ("VoxelBackBone8x", "VoxelResBackBone8x", "VoxelBackBone8xFocal", "UNetV2")
_LAST_PAD = "MODEL.BACKBONE_3D.last_pad"


def range_not_multiple_of_voxel(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The range is no whole number of voxels along an axis.

    What it means: The grid that the model is built for is rounded, while points and boxes keep
        their places: the last row of voxels hangs over the range, or the points of a rim fall
        outside the grid and are dropped. Training runs; only a range without a single voxel stops
        it.
    Why it happens: OpenPCDet divides the range by the voxel size and rounds. A voxel size was
        changed without its range, or the range is a rounded figure itself.
    How to fix: Let the range end at one of the places that the finding names, or take one of its
        voxel sizes.
    Seen in: open-mmlab/mmdetection3d#1803: a sparse shape that is no whole number, from a range
        that is no multiple of the voxel.
    """
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
                key=key,
                severity=Severity.ERROR if is_none else None,
            )


def depth_collapses_to_zero(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The strides of the 3D backbone leave no height.

    What it means: A strided sparse convolution would make a volume that is 0 voxels high, which
        spconv refuses with "your out spatial shape ... reach zero".
    What is printed:
        out spatial shape ... reach zero
    Why it happens: VoxelBackBone8x and its kind halve the height four times and expect about 40
        voxels of it. A taller voxel, often chosen to save memory, leaves fewer.
    How to fix: Make voxels less tall or the range higher until the chain in the finding ends at 1
        or more; to save memory, make voxels longer and wider instead.
    Seen in: traveller59/spconv#623: voxels of 0.3 x 0.3 x 0.45 m instead of 0.1 x 0.1 x 0.15 m, to
        save memory.
    """
    document, data = evidence.document, evidence.parts.data
    name = text(document, "MODEL.BACKBONE_3D.NAME")
    if data is None or name not in _EIGHTH:
        return
    # One number pads all axes; a list starts with the height.
    written = document.get(_LAST_PAD)
    last_pad = whole(document, f"{_LAST_PAD}.0" if isinstance(written, tuple) else _LAST_PAD) or 0
    heights = eighth_heights(data.grid_size[2], last_pad)
    if heights[-1] > 0:
        return
    least = next(height for height in count(1) if eighth_heights(height, last_pad)[-1] > 0)
    chain = " -> ".join(str(max(height, 0)) for height in heights[1:])
    yield finding(
        "BEV102",
        f"{name} leaves no height: a grid {data.grid_size[2]} voxels high becomes {chain}, and "
        f"needs at least {least}",
        key=voxel_size_key(document) or "",
        module="backbone_3d",
    )


def pillars_on_tall_grid(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Pillars are scattered onto a map, but the grid is more than one voxel high.

    What it means: PointPillarScatter has one cell for a place on the map. With several voxels above
        each other it asserts that the grid's height is 1, and stops.
    What is printed:
        assert self.nz == 1
    Why it happens: The voxel of a pillar is as tall as the range; one of the two was changed.
    How to fix: Set the voxel's height to the range's, or scatter with PointPillarScatter3d, which
        turns heights into channels.
    Seen in: open-mmlab/OpenPCDet#1300: the assertion nz == 1 on a custom range.
    """
    document, data = evidence.document, evidence.parts.data
    name = text(document, "MODEL.MAP_TO_BEV.NAME")
    if data is None or name != "PointPillarScatter" or data.grid_size[2] == 1:
        return
    low, high = data.point_cloud_range[2], data.point_cloud_range[5]
    yield finding(
        "BEV109",
        f"PointPillarScatter takes pillars, but the grid is {data.grid_size[2]} voxels high: "
        f"expected a voxel of {high - low:g} m",
        key=voxel_size_key(document) or "",
        module="map_to_bev_module",
    )
