"""The 2D backbone is built for other channels than the BEV map has.

What it means:
    MAP_TO_BEV.NUM_BEV_FEATURES differs from the channels that arrive. The first convolution of
    the 2D backbone is built for the declared number and stops at the first batch with "expected
    input to have ... channels".

What is printed:
    expected input... to have <#> channels, but got <#> channels instead (in backbone_2d)

Why it happens:
    OpenPCDet never derives the number. Flattening makes C x D channels of a volume that is D
    voxels high, and D follows from the range, the voxel's height and the strides of the 3D
    backbone: any change to one of them changes the channels.

How to fix:
    Declare the number that the finding names, if you want that many; else change the height of
    the range or of the voxel until C x D is what is declared.

Seen in:
    open-mmlab/OpenPCDet#1162 (https://github.com/open-mmlab/OpenPCDet/issues/1162): PV-RCNN++
    on its owner's data, where 128 x 3 = 384 channels met a declared 256.
"""

from collections.abc import Iterator

from bevdiag.config.bev_settings import PillarScatterSettings
from bevdiag.models.bev import MapInput, map_input_of
from bevdiag.models.bev_map import bev_map
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

KEY = "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield a finding where another number is declared than arrives."""
    made = evidence.parts.up_to_map()
    if made is None or bev_map(evidence.parts) is None:
        return
    map_input = map_input_of(made)
    # Pillars above each other and a height that vanishes are other rules' faults.
    is_tall = isinstance(made.model.map_to_bev, PillarScatterSettings) and map_input.depth > 1
    if map_input.declared == map_input.real or map_input.depth < 1 or is_tall:
        return
    yield finding(
        "BEV201",
        f"NUM_BEV_FEATURES declares {map_input.declared} BEV channels, but {map_input.real} "
        f"arrive: {_arithmetic(map_input)}",
        document=evidence.document,
        key=KEY,
        module="map_to_bev_module",
        detail=_lesson(map_input, traced=evidence.config is not None),
    )


def _arithmetic(map_input: MapInput) -> str:
    if map_input.flattens or not map_input.is_volume:
        return f"{map_input.channels} channels x {map_input.depth} height levels = {map_input.real}"
    return f"the reduced map keeps the volume's {map_input.real} channels"


def _lesson(map_input: MapInput, *, traced: bool) -> tuple[str, ...]:
    stop = (
        f"The first convolution of the 2D backbone is built for {map_input.declared} channels; "
        f'PyTorch stops there with "expected input to have {map_input.declared} channels, but got '
        f'{map_input.real} channels instead".'
    )
    fixed = f"All memory figures here are for the config with {map_input.real} declared."
    return (stop, fixed) if traced else (stop,)
