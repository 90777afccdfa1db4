"""Rules about the grid of voxels, its height, and the strides and sides of maps."""

from collections.abc import Iterator
from itertools import count
from math import isclose, prod

from bevdiag.config.bev_settings import Backbone2dSettings
from bevdiag.config.grid import misfit, rounded_voxels, whole_voxels
from bevdiag.config.parts import lengths, listed, text, voxel_size_key, whole
from bevdiag.models.interfaces import (
    MapInput,
    bev_map,
    eighth_heights,
    head_sides,
    head_stride,
    level_sizes,
    level_strides,
)
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import ConfigEvidence, Finding, Severity

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


_RANGE = "DATA_CONFIG.POINT_CLOUD_RANGE"
_HEAD_STRIDE = "MODEL.DENSE_HEAD.TARGET_ASSIGNER_CONFIG.FEATURE_MAP_STRIDE"
_CLASSES = "MODEL.DENSE_HEAD.ANCHOR_GENERATOR_CONFIG"
_CAMERA = "MODEL.VTRANSFORM"


def bev_not_divisible_by_stride(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The levels of the 2D backbone come out in different sizes.

    What it means: The 2D backbone strides the BEV map down, brings every level back up and lays
        them side by side. Where the map is no multiple of the strides, one level is a row longer
        than another, and torch.cat stops with "Sizes of tensors must match".
    What is printed:
        Sizes of tensors must match except in dimension # (in backbone_2d)
        Sizes of tensors must match except in dimension #. Expected size <#> but got size <#> (in
            backbone_2d)
        Sizes of tensors must match except in dimension #. Got <#> and <#> (in backbone_2d)
        inconsistent tensor sizes (in backbone_2d)
    Why it happens: A strided convolution rounds up and the upsampling multiplies: 47 rows become
        24, and those become 48. The range or the voxel size was changed without an eye on the
        product of all strides.
    How to fix: Make the grid a multiple of the number in the finding, by the range or the voxel
        size. Where the upsampling itself does not undo the strides, correct UPSAMPLE_STRIDES.
    Seen in: TRAILab/CaDDN#39: torch.cat on maps of 48 and of 47 rows.
    """
    backbone, before = evidence.parts.backbone_2d, bev_map(evidence.parts)
    if backbone is None or not backbone.upsample_strides:
        return
    strides = level_strides(backbone)
    if max(strides) - min(strides) > 1e-6:
        shown = ", ".join(f"{stride:g}" for stride in strides)
        yield finding(
            "BEV103",
            f"the levels of the 2D backbone are brought back to different strides: {shown}",
            key="MODEL.BACKBONE_2D.UPSAMPLE_STRIDES",
            module="backbone_2d",
        )
    elif before is not None:
        yield from _sides(evidence, backbone, before)


def _sides(
    evidence: ConfigEvidence, backbone: Backbone2dSettings, before: MapInput
) -> Iterator[Finding]:
    multiple = prod(backbone.layer_strides)
    for axis, size in (("x", before.width), ("y", before.height)):
        sizes = level_sizes(backbone, size)
        if len(set(sizes)) > 1:
            yield finding(
                "BEV103",
                f"the BEV map is {size} cells along {axis}, and the levels of the 2D backbone come "
                f"out {' and '.join(map(str, sizes))} cells long: expected a multiple of "
                f"{multiple} cells, which is {multiple * before.stride} voxels",
                key=_RANGE,
                module="backbone_2d",
            )


def feature_map_stride_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The head draws its targets on a map of another stride than it is given.

    What it means: CenterHead turns metres into cells with FEATURE_MAP_STRIDE, but reads a map of
        another stride: the peaks it learns stand in the wrong cells, or outside the map. Nothing
        fails.
    Why it happens: The stride is written out and never compared with the strides of the 3D and the
        2D backbone.
    How to fix: Write the stride that the finding names, or change the strides before the head.
    Seen in: open-mmlab/OpenPCDet#711: CenterPoint on KITTI learned nothing until the 2D backbone's
        strides agreed with FEATURE_MAP_STRIDE.
    """
    written, real = whole(evidence.document, _HEAD_STRIDE), head_stride(evidence.parts)
    if written is None or real is None or written == real:
        return
    yield finding(
        "BEV106",
        f"FEATURE_MAP_STRIDE is {written}, but the map that the head reads has stride {real:g}",
        key=_HEAD_STRIDE,
        module="dense_head",
    )


def anchor_stride_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Anchors are made for a map of another stride than the head is given.

    What it means: The head predicts one box for every anchor of a cell, and there are more or fewer
        cells than anchors were made for: the loss stops at two tensors that do not fit.
    What is printed:
        The size of tensor a (#) must match the size of tensor b (#) at non-singleton dimension #
            (in dense_head)
        inconsistent tensor size, expected ... and ... to have the same number of elements (in
            dense_head)
        is invalid for input of size # (in dense_head)
    Why it happens: feature_map_stride is written out for every class and never compared with the
        strides of the 3D and the 2D backbone. And where it is right, the anchors' cells are the
        grid divided by it, rounded down, while every strided convolution rounds up.
    How to fix: Write the stride that the finding names for every class, or change the strides
        before the head. Where the numbers of cells differ, make the grid a multiple of the stride.
    Seen in: open-mmlab/OpenPCDet#1242: anchors on 188 x 188 cells beside a map of another size.
    """
    document, real = evidence.document, head_stride(evidence.parts)
    if real is None or not isinstance(document.get(_CLASSES), tuple):
        return
    for index, entry in enumerate(listed(document, _CLASSES)):
        key = f"{_CLASSES}.{index}.feature_map_stride"
        written = whole(document, key)
        if written is not None and written != real:
            name = entry.get("class_name", f"class {index + 1}")
            yield finding(
                "BEV108",
                f"the anchors of {name} have stride {written}, but the map that the head reads has "
                f"stride {real:g}",
                key=key,
                module="dense_head",
            )
            return
    yield from _rounded(evidence, real)


def _rounded(evidence: ConfigEvidence, stride: float) -> Iterator[Finding]:
    """Yield a finding for each side whose cells are rounded down for anchors and up by the maps."""
    parts, sides = evidence.parts, head_sides(evidence.parts)
    if parts.data is None or sides is None:
        return
    for axis, name in enumerate("xy"):
        made = int(parts.data.grid_size[axis] // stride)
        if made != sides[axis]:
            yield finding(
                "BEV108",
                f"anchors are made for {made} cells along {name}, {parts.data.grid_size[axis]} "
                f"voxels // {stride:g}, but the head's map has {sides[axis]}: strided convolutions "
                "round up",
                key=_RANGE,
                module="dense_head",
            )


def camera_bounds_mismatch(evidence: ConfigEvidence) -> Iterator[Finding]:
    """The camera branch makes its BEV map of other bounds than the point cloud's.

    What it means: The two maps are laid side by side cell by cell. With other numbers of cells
        torch.cat stops the first batch; with the same number and other bounds nothing fails, and
        the camera's features lie metres away from the points they belong to.
    What is printed:
        Sizes of tensors must match except in dimension # (in fuser)
    Why it happens: XBOUND and YBOUND are written out, and stay behind when the range or the voxel
        size changes.
    How to fix: Let XBOUND and YBOUND start and end where POINT_CLOUD_RANGE does, with a step that
        makes as many cells (after DOWNSAMPLE) as the LiDAR's map has.
    Seen in: mit-han-lab/bevfusion#573: maps of 240 and of 180 cells after a change of the range.
    """
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
            key=f"{_CAMERA}.{name}",
            module="vtransform",
            severity=None if differs else Severity.WARNING,
        )
