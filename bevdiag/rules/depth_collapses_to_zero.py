"""The strides of the 3D backbone leave no height.

What it means:
    A strided sparse convolution would make a volume that is 0 voxels high, which spconv refuses
    with "your out spatial shape ... reach zero".

What is printed:
    out spatial shape ... reach zero

Why it happens:
    VoxelBackBone8x and its kind halve the height four times and expect about 40 voxels of it. A
    taller voxel, often chosen to save memory, leaves fewer.

How to fix:
    Make voxels less tall or the range higher until the chain in the finding ends at 1 or more; to
    save memory, make voxels longer and wider instead.

Seen in:
    traveller59/spconv#623 (https://github.com/traveller59/spconv/issues/623): voxels of 0.3 x 0.3 x
    0.45 m instead of 0.1 x 0.1 x 0.15 m, to save memory.
"""

from collections.abc import Iterator
from itertools import count

from bevdiag.config.written import text, voxel_size_key, whole
from bevdiag.models.interfaces import eighth_heights
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_EIGHTH = ("VoxelBackBone8x", "VoxelResBackBone8x", "VoxelBackBone8xFocal", "UNetV2")
_LAST_PAD = "MODEL.BACKBONE_3D.last_pad"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding where a stride makes the height 0."""
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
        document=document,
        key=voxel_size_key(document) or "",
        module="backbone_3d",
    )
