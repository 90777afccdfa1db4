"""The 2D backbone is built for other channels than the BEV map has.

What it means:
    MAP_TO_BEV.NUM_BEV_FEATURES differs from the channels that arrive. The first convolution of
    the 2D backbone is built for the declared number and stops at the first batch with "expected
    input to have ... channels".

Why it happens:
    OpenPCDet never derives the number. Flattening makes C x D channels of a volume that is D
    voxels high, and D follows from the range, the voxel's height and the strides of the 3D
    backbone: any change to one of them changes the channels.

How to mend:
    Declare the number that the finding names, if you want that many; else change the height of
    the range or of the voxel until C x D is what is declared.

Seen in:
    open-mmlab/OpenPCDet#1162 (https://github.com/open-mmlab/OpenPCDet/issues/1162): PV-RCNN++
    on its owner's data, where 128 x 3 = 384 channels met a declared 256.
"""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import StepEvidence
from bevdiag.diagnose.result import Finding

KEY = "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES"


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where the module itself refused its input."""
    mismatch, joint = evidence.mismatch, evidence.joint
    if mismatch is None:
        return
    arithmetic = (
        f"{joint.channels} channels x {joint.depth} height levels = {mismatch.found}"
        if joint.flattens or not joint.is_volume
        else f"the reduced map keeps the volume's {mismatch.found} channels"
    )
    yield finding(
        "BEV201",
        f"NUM_BEV_FEATURES declares {mismatch.declared} BEV channels, but {mismatch.found} arrive: "
        f"{arithmetic}",
        document=evidence.document,
        key=KEY,
        module=mismatch.module,
        detail=(
            f"The first convolution of the 2D backbone is built for {mismatch.declared} channels; "
            'PyTorch stops there with "expected input to have '
            f'{mismatch.declared} channels, but got {mismatch.found} channels instead".',
            f"All memory figures here are for the config with {mismatch.found} declared.",
        ),
    )
