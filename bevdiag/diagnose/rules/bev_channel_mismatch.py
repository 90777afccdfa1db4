"""BEV201: the 2D backbone is built for other channels than the BEV map has.

OpenPCDet never derives NUM_BEV_FEATURES: the 2D backbone takes the number that the config
declares, and the mistake shows only when the first convolution is handed the map.
"""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding

KEY = "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES"


def check(evidence: Evidence) -> Iterator[Finding]:
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
        config=evidence.config,
        key=KEY,
        module=mismatch.module,
        detail=(
            f"The first convolution of the 2D backbone is built for {mismatch.declared} channels; "
            'PyTorch stops there with "expected input to have '
            f'{mismatch.declared} channels, but got {mismatch.found} channels instead".',
            f"All memory figures here are for the config with {mismatch.found} declared.",
        ),
    )
