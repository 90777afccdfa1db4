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
    and the 2D backbone.

How to mend:
    Write the stride that the finding names for every class, or change the strides before the head.

Seen in:
    open-mmlab/OpenPCDet#1242 (https://github.com/open-mmlab/OpenPCDet/issues/1242): anchors on 188
    x 188 cells beside a map of another size.
"""

from collections.abc import Iterator

from bevdiag.config.written import whole
from bevdiag.models.bev_map import head_stride
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_CLASSES = "MODEL.DENSE_HEAD.ANCHOR_GENERATOR_CONFIG"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding for every class whose written stride is not the map's."""
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
