"""The anchors of every cell take up much of the peak.

What it means:
    An anchor head predicts, assigns and rates A boxes at each of H x W cells. What it holds for
    them at the peak is more than a GiB and more than two fifths of all memory.

Why it happens:
    A is the sum over classes of sizes x rotations x heights, and the cells are those of the whole
    range. Both multiply with the batch.

How to fix:
    A larger feature_map_stride, fewer sizes, rotations and heights, or a head without anchors
    (CenterHead).

Seen in:
    open-mmlab/OpenPCDet#1546 (https://github.com/open-mmlab/OpenPCDet/issues/1546): SECOND on a
    wide range with dozens of anchor sizes.
"""

from collections.abc import Iterator

from bevdiag.config.head_settings import AnchorHeadSettings
from bevdiag.memory.events import Alloc, Category
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding
from bevdiag.trace.wiring import is_inside

_NOTEWORTHY_BYTES = 2**30
_SHARE = 0.4
_HEAD = "dense_head"
_COMPUTED = (Category.ACTIVATION, Category.TEMPORARY)


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where an anchor head's blocks dominate the peak."""
    head = evidence.config.model.dense_head
    if not isinstance(head, AnchorHeadSettings):
        return
    held = sum(block.nbytes for block in evidence.profile.holders if _is_head(block.alloc))
    maps = [e.shape for e in evidence.trace.wiring.read_inside(_HEAD) if e.carries_gradient]
    total = evidence.profile.peak.allocated_bytes
    if held < _NOTEWORTHY_BYTES or held <= _SHARE * total or not maps or maps[0] is None:
        return
    height, width = maps[0][-2:]
    yield finding(
        "BEV310",
        f"{head.num_anchors} anchors at each of {height} x {width} cells are "
        f"{head.num_anchors * height * width:,} a sample; the head holds {format_size(held)} of "
        f"the peak's {format_size(total)} for them",
        document=evidence.document,
        key="MODEL.DENSE_HEAD.ANCHOR_GENERATOR_CONFIG",
        module=_HEAD,
    )


def _is_head(alloc: Alloc) -> bool:
    # The losses run after the forward pass of the last module, in the detector's own name.
    return alloc.category in _COMPUTED and (not alloc.module or is_inside(alloc.module, _HEAD))
