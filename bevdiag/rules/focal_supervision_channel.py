"""The focal loss looks at a neighbour's channel instead of the voxel's own.

What it means:
    Of the importance channels the last one rates the voxel itself; the others rate its neighbours.
    A loss on another channel, or on all, teaches "this voxel lies in a box" to the wrong output.

Why it happens:
    The order of the channels is a convention of the split that reads them, and nothing checks it.

How to fix:
    Supervise the last channel: -1, or 26 of 27.

Seen in:
    JIA-Lab-research/FocalsConv#27 (https://github.com/JIA-Lab-research/FocalsConv/issues/27): a
    focal backbone that keeps more voxels than its user can hold, which is what the loss is against.
"""

from collections.abc import Iterator

from bevdiag.config.written import whole
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_KEY = "MODEL.BACKBONE_3D.FOCAL_ENCODER.LOSS_CONFIG.SUPERVISED_CHANNEL"
_LAST = (-1, 26)


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding where another channel than the last is written."""
    written = whole(evidence.document, _KEY)
    if written is None or written in _LAST:
        return
    yield finding(
        "BEV205",
        f"the focal loss supervises channel {written}, which rates a neighbour: the voxel's own "
        f"importance is the last channel ({_LAST[1]}, or {_LAST[0]})",
        document=evidence.document,
        key=_KEY,
        module="backbone_3d.focal_encoder",
    )
