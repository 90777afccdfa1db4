"""Changes to how the height is turned into BEV channels."""

from collections.abc import Iterator

from bevdiag.config.settings import FocalDsvtSettings, SparseHeightCompressionSettings
from bevdiag.models.bev import bev_joint
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.compressions import compression_changes
from bevdiag.remedies.candidate import Candidate, Price

_MAP = ("MODEL", "MAP_TO_BEV")
_DSVT = ("MODEL", "BACKBONE_3D", "DSVT")

_LARGEST_STRIDE = 8
"""Merging more than eight levels in one step leaves the convolution little to tell apart."""

_OWN_MODULE = "MAP_TO_BEV's {name}, which OpenPCDet lacks and bevdiag/models/map_to_bev has"


def height_changes(source: BuiltIn) -> Iterator[Candidate]:
    """Every way that bevdiag knows, the report's own remedies first."""
    yield from _compressions(source)
    yield from _height_in_dsvt(source)
    yield from _height_strides(source)


_COMPRESSIONS = {
    "max": "height is reduced to its maximum: targets above each other merge",
    "mean": "height is averaged, empty cells included: sparse columns fade",
    "learned": "a learned projection of all heights; keeps the flattened volume in memory",
    "sparse_max": "the same map as max, without the dense volume",
    "sparse_mean": "the same map as mean, without the dense volume",
    "sparse_sum": "height is summed: columns with more voxels weigh more",
}


def _compressions(source: BuiltIn) -> Iterator[Candidate]:
    if not bev_joint(source.config).is_volume:
        return
    mapping = source.config.model.map_to_bev
    current = mapping.mode if isinstance(mapping, SparseHeightCompressionSettings) else "none"
    for mode, loses in _COMPRESSIONS.items():
        if mode != current:
            yield Candidate(
                id=f"compression-{mode}",
                group="height",
                price=Price.MODEL,
                title=f"{mode} compression of the height",
                loses=loses,
                changes=compression_changes(source.config, mode),
                needs=_OWN_MODULE.format(name="SparseHeightCompression"),
            )


def _height_in_dsvt(source: BuiltIn) -> Iterator[Candidate]:
    """Stages that pool the real height away, one block each; the last stage is read flat."""
    joint, backbone = bev_joint(source.config), source.config.model.backbone_3d
    if not isinstance(backbone, FocalDsvtSettings):
        return
    dsvt = backbone.dsvt
    z = dsvt.input_layer.sparse_shape[2]
    if joint.reads != "dsvt" or dsvt.num_stages > 1 or z == 1:
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
    yield Candidate(
        id="dsvt-height-stages",
        group="height",
        price=Price.MODEL,
        title=f"DSVT pools the height {z} = {steps} in {stages} stages",
        loses="one DSVT block a stage instead of all at full height",
        changes={
            **{(*_DSVT, "INPUT_LAYER", key): value for key, value in inputs.items()},
            **{(*_DSVT, key): value for key, value in outer.items()},
            (*_MAP, "NAME"): "HeightCompression",
            (*_MAP, "NUM_BEV_FEATURES"): joint.channels,
        },
    )


def _height_strides(source: BuiltIn) -> Iterator[Candidate]:
    joint = bev_joint(source.config)
    if joint.depth == 1 or not joint.is_volume:
        return
    strides = height_factors(joint.depth)
    yield Candidate(
        id="height-strides",
        group="height",
        price=Price.MODEL,
        title=f"strided 3D convolutions bring the height {joint.depth} to 1 before the map",
        loses="height resolution, by learned convolutions",
        needs=_OWN_MODULE.format(name="HEIGHT_STRIDES"),
        changes={
            (*_MAP, "NAME"): "HeightCompression",
            (*_MAP, "HEIGHT_STRIDES"): strides,
            (*_MAP, "NUM_BEV_FEATURES"): joint.channels,
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
