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

from bevdiag.config import DetectorConfig
from bevdiag.config.settings import FocalDsvtSettings, SparseHeightCompressionSettings
from bevdiag.memory.verdict import Verdict
from bevdiag.models.bev import compression_changes, map_input_of
from bevdiag.rules.codes import finding
from bevdiag.rules.convolutions import first_bev_convolution
from bevdiag.rules.evidence import StepEvidence
from bevdiag.rules.finding import Finding
from bevdiag.rules.fix import OWN_MODULE, Fix, Fixable, Price

_MAP = ("MODEL", "MAP_TO_BEV")
_DSVT = ("MODEL", "BACKBONE_3D", "DSVT")

_LARGEST_STRIDE = 8
"""Merging more than eight levels in one step leaves the convolution little to tell apart."""

_COMPRESSIONS = {
    "max": "height is reduced to its maximum: targets above each other merge",
    "mean": "height is averaged, empty cells included: sparse columns fade",
    "learned": "a learned projection of all heights; keeps the flattened volume in memory",
    "sparse_max": "the same map as max, without the dense volume",
    "sparse_mean": "the same map as mean, without the dense volume",
    "sparse_sum": "height is summed: columns with more voxels weigh more",
}


def check(evidence: StepEvidence) -> Iterator[Finding]:
    """Yield a finding where a step that does not surely fit flattens more than one level."""
    map_input = evidence.map_input
    if evidence.verdict not in (Verdict.OVER, Verdict.DEPENDS):
        return
    call = first_bev_convolution(evidence.trace.stream)
    if not map_input.flattens or map_input.depth == 1 or call is None:
        return
    now, then = map_input.channels * map_input.depth, map_input.channels
    out_channels, _, height, width = call.weight_shape
    weights = (now - then) * out_channels * height * width
    yield finding(
        "BEV503",
        f"{map_input.depth} levels are flattened into {now:,} channels: collapsed with sparse_max "
        f"the map has {then}, and the first convolution {weights:,} weights fewer",
        document=evidence.document,
        key="MODEL.MAP_TO_BEV.NAME",
        module="map_to_bev_module",
    )


def fixes(step: Fixable) -> Iterator[Fix]:
    """Every way that bevdiag knows to turn the height into channels, the report's own first."""
    if step.config is not None:
        yield from _compressions(step.config)
        yield from _height_in_dsvt(step.config)
        yield from _height_strides(step.config)


def _compressions(config: DetectorConfig) -> Iterator[Fix]:
    if not map_input_of(config).is_volume:
        return
    mapping = config.model.map_to_bev
    current = mapping.mode if isinstance(mapping, SparseHeightCompressionSettings) else "none"
    for mode, loses in _COMPRESSIONS.items():
        if mode != current:
            yield Fix(
                id=f"compression-{mode}",
                group="height",
                price=Price.MODEL,
                title=f"{mode} compression of the height",
                loses=loses,
                edits=compression_changes(config, mode),
                needs=OWN_MODULE.format(name="SparseHeightCompression"),
            )


def _height_in_dsvt(config: DetectorConfig) -> Iterator[Fix]:
    """Stages that pool the real height away, one block each; the last stage is read flat."""
    map_input, backbone = map_input_of(config), config.model.backbone_3d
    if not isinstance(backbone, FocalDsvtSettings):
        return
    dsvt = backbone.dsvt
    z = dsvt.input_layer.sparse_shape[2]
    if map_input.reads != "dsvt" or dsvt.num_stages > 1 or z == 1:
        return
    strides = height_factors(z)
    heights = [z]
    for stride in strides:
        heights.append(-(-heights[-1] // stride))
    stages = len(heights)
    window = dsvt.input_layer.window_shape[0]
    set_size = dsvt.set_info[0][0]
    shift_x, shift_y, _ = dsvt.input_layer.shifts_list[0][1]
    # A window as high as the stage: there is nothing above or below to attend to.
    windows = [[window[0], window[1], height] for height in heights]
    shared: dict[str, object] = {
        "d_model": [dsvt.d_model[0]] * stages,
        "set_info": [[set_size, 1]] * stages,
    }
    inputs: dict[str, object] = {
        **shared,
        "downsample_stride": [[1, 1, stride] for stride in strides],
        "window_shape": windows,
        "shifts_list": [[[0, 0, 0], [shift_x, shift_y, 0]]] * stages,
    }
    outer: dict[str, object] = {
        **shared,
        "block_name": ["DSVTBlock"] * stages,
        "nhead": [dsvt.nhead[0]] * stages,
        "dim_feedforward": [dsvt.dim_feedforward[0]] * stages,
        "reduction_type": "attention",
    }
    steps = " x ".join(map(str, strides))
    yield Fix(
        id="dsvt-height-stages",
        group="height",
        price=Price.MODEL,
        title=f"DSVT pools the height {z} = {steps} in {stages} stages",
        loses="one DSVT block a stage instead of all at full height",
        edits={
            **{(*_DSVT, "INPUT_LAYER", key): value for key, value in inputs.items()},
            **{(*_DSVT, key): value for key, value in outer.items()},
            (*_MAP, "NAME"): "HeightCompression",
            (*_MAP, "NUM_BEV_FEATURES"): map_input.channels,
        },
    )


def _height_strides(config: DetectorConfig) -> Iterator[Fix]:
    map_input = map_input_of(config)
    if map_input.depth == 1 or not map_input.is_volume:
        return
    strides = height_factors(map_input.depth)
    yield Fix(
        id="height-strides",
        group="height",
        price=Price.MODEL,
        title=f"strided 3D convolutions bring the height {map_input.depth} to 1 before the map",
        loses="height resolution, by learned convolutions",
        needs=OWN_MODULE.format(name="HEIGHT_STRIDES"),
        edits={
            (*_MAP, "NAME"): "HeightCompression",
            (*_MAP, "HEIGHT_STRIDES"): strides,
            (*_MAP, "NUM_BEV_FEATURES"): map_input.channels,
        },
    )


def height_factors(height: int) -> list[int]:
    """Strides whose product brings `height` down to 1, none above `_LARGEST_STRIDE` if possible.

    The prime factors, small ones multiplied together; a height with a larger prime factor is
    divided by 2, rounding up, until it has none.
    """
    strides: list[int] = []
    while height > 1:
        factor = next((f for f in range(_LARGEST_STRIDE, 1, -1) if height % f == 0), None)
        strides.append(factor or 2)
        height = -(-height // strides[-1])
    return sorted(strides)
