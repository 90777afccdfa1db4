"""Anchors are made for a map of another stride than the head is given.

What it means:
    The head predicts one box for every anchor of a cell, and there are more or fewer cells than
    anchors were made for: the loss stops at two tensors that do not fit.

What is printed:
    The size of tensor a (#) must match the size of tensor b (#) at non-singleton dimension #
    (in dense_head)

    inconsistent tensor size, expected ... and ... to have the same number of elements (in
    dense_head)

    is invalid for input of size # (in dense_head)

Why it happens:
    feature_map_stride is written out for every class and never compared with the strides of the 3D
    and the 2D backbone. And where it is right, the anchors' cells are the grid divided by it,
    rounded down, while every strided convolution rounds up.

How to fix:
    Write the stride that the finding names for every class, or change the strides before the head.
    Where the numbers of cells differ, make the grid a multiple of the stride.

Seen in:
    open-mmlab/OpenPCDet#1242 (https://github.com/open-mmlab/OpenPCDet/issues/1242): anchors on 188
    x 188 cells beside a map of another size.
"""

from collections.abc import Iterator

from bevdiag.config.written import whole
from bevdiag.models.bev_map import head_sides, head_stride
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_RANGE = "DATA_CONFIG.POINT_CLOUD_RANGE"
_CLASSES = "MODEL.DENSE_HEAD.ANCHOR_GENERATOR_CONFIG"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for the first class whose stride is not the map's, else for its sides."""
    document, real = evidence.document, head_stride(evidence.parts)
    classes = document.get(_CLASSES)
    if real is None or not isinstance(classes, tuple):
        return
    for index, entry in enumerate(classes):
        key = f"{_CLASSES}.{index}.feature_map_stride"
        written = whole(document, key)
        if written is not None and written != real:
            name = entry.get("class_name", f"class {index + 1}")
            yield finding(
                "BEV108",
                f"the anchors of {name} have stride {written}, but the map that the head reads has "
                f"stride {real:g}",
                document=document,
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
                document=evidence.document,
                key=_RANGE,
                module="dense_head",
            )
