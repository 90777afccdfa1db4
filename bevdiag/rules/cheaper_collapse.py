"""The height could be collapsed before the map is made, not flattened into it.

What it means:
    The volume's levels become channels of the map, and the first 2D convolution has as many times
    the weights. A maximum or mean over the occupied levels makes a map with the volume's own
    channels.

Why it happens:
    HeightCompression is cheap behind a backbone that leaves two levels. Behind one that keeps more,
    the dense volume, the map and the first convolution all grow with the levels.

How to fix:
    SparseHeightCompression with MODE sparse_max, or strides along the height before the map
    (HEIGHT_STRIDES). Either loses at which height a feature was.

Seen in:
    open-mmlab/OpenPCDet#1234 (https://github.com/open-mmlab/OpenPCDet/issues/1234): a request to
    lift the tie between the number of height levels and the map's channels.
"""

from collections.abc import Iterator

from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.convolutions import first_bev_convolution
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where a step that does not surely fit flattens more than one level."""
    joint = evidence.joint
    if evidence.verdict not in (Verdict.OVER, Verdict.DEPENDS):
        return
    call = first_bev_convolution(evidence.trace.stream)
    if not joint.flattens or joint.depth == 1 or call is None:
        return
    now, then = joint.channels * joint.depth, joint.channels
    out_channels, _, height, width = call.weight_shape
    weights = (now - then) * out_channels * height * width
    yield finding(
        "BEV503",
        f"{joint.depth} levels are flattened into {now:,} channels: collapsed with sparse_max the "
        f"map has {then}, and the first convolution {weights:,} weights fewer",
        document=evidence.document,
        key="MODEL.MAP_TO_BEV.NAME",
        module="map_to_bev_module",
    )
