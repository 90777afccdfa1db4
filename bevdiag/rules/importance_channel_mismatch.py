"""The importance convolution does not speak of every voxel of its kernel.

What it means:
    A focal convolution reads one channel for each neighbour that a voxel may spawn and one, the
    last, for the voxel itself: 27 for a kernel of 3 x 3 x 3. With fewer the split of the voxels
    runs out of channels.

Why it happens:
    The convolution looks like one that rates a voxel, which would take 1 channel.

How to fix:
    Give it the kernel's volume: 27 channels for a kernel of 3.

Seen in:
    JIA-Lab-research/FocalsConv#2 (https://github.com/JIA-Lab-research/FocalsConv/issues/2): a
    focal backbone set up by hand, whose settings have to agree with its convolutions.
"""

from collections.abc import Iterator

from bevdiag.config.written import whole
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_KEY = "MODEL.BACKBONE_3D.FOCAL_ENCODER.IMPORTANCE_CHANNELS"
_KERNEL = 3


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding where another number is written than the kernel has voxels."""
    written = whole(evidence.document, _KEY)
    if written is None or written == _KERNEL**3:
        return
    yield finding(
        "BEV204",
        f"{written} importance channels, where the focal convolution reads {_KERNEL**3}: one for "
        f"each of {_KERNEL**3 - 1} neighbours and one for the voxel itself",
        document=evidence.document,
        key=_KEY,
        module="backbone_3d.focal_encoder.conv_imp",
    )
