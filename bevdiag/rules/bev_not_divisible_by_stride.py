"""The levels of the 2D backbone come out in different sizes.

What it means:
    The 2D backbone strides the BEV map down, brings every level back up and lays them side by side.
    Where the map is no multiple of the strides, one level is a row longer than another, and
    torch.cat stops with "Sizes of tensors must match".

What is printed:
    Sizes of tensors must match except in dimension # (in backbone_2d)

    Sizes of tensors must match except in dimension #. Expected size <#> but got size <#>
    (in backbone_2d)

    Sizes of tensors must match except in dimension #. Got <#> and <#> (in backbone_2d)

    inconsistent tensor sizes (in backbone_2d)

Why it happens:
    A strided convolution rounds up and the upsampling multiplies: 47 rows become 24, and those
    become 48. The range or the voxel size was changed without an eye on the product of all strides.

How to fix:
    Make the grid a multiple of the number in the finding, by the range or the voxel size. Where
    the upsampling itself does not undo the strides, correct UPSAMPLE_STRIDES.

Seen in:
    TRAILab/CaDDN#39 (https://github.com/TRAILab/CaDDN/issues/39): torch.cat on maps of 48 and of 47
    rows.
"""

from collections.abc import Iterator
from math import lcm

from bevdiag.config.bev_settings import Backbone2dSettings
from bevdiag.models.bev_map import BevMap, bev_map, level_sizes, level_strides
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import ConfigEvidence
from bevdiag.rules.finding import Finding

_STRIDES = "MODEL.BACKBONE_2D.UPSAMPLE_STRIDES"
_RANGE = "DATA_CONFIG.POINT_CLOUD_RANGE"


def check(evidence: ConfigEvidence) -> Iterator[Finding]:
    """Yield one finding for the strides, or one for each side of the map that does not fit."""
    backbone, before = evidence.parts.backbone_2d, bev_map(evidence.parts)
    if backbone is None or not backbone.upsample_strides:
        return
    strides = level_strides(backbone)
    if max(strides) - min(strides) > 1e-6:
        shown = ", ".join(f"{stride:g}" for stride in strides)
        yield finding(
            "BEV103",
            f"the levels of the 2D backbone are brought back to different strides: {shown}",
            document=evidence.document,
            key=_STRIDES,
            module="backbone_2d",
        )
    elif before is not None:
        yield from _sides(evidence, backbone, before)


def _sides(
    evidence: ConfigEvidence, backbone: Backbone2dSettings, before: BevMap
) -> Iterator[Finding]:
    multiple = lcm(*_products(backbone.layer_strides))
    for axis, size in (("x", before.width), ("y", before.height)):
        sizes = level_sizes(backbone, size)
        if len(set(sizes)) > 1:
            yield finding(
                "BEV103",
                f"the BEV map is {size} cells along {axis}, and the levels of the 2D backbone come "
                f"out {' and '.join(map(str, sizes))} cells long: expected a multiple of "
                f"{multiple} cells, which is {multiple * before.stride} voxels",
                document=evidence.document,
                key=_RANGE,
                module="backbone_2d",
            )


def _products(strides: tuple[int, ...]) -> list[int]:
    products, product = [], 1
    for stride in strides:
        product *= stride
        products.append(product)
    return products
