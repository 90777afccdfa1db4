"""The joint between the 3D and the 2D half of a detector: how high, how many channels."""

from dataclasses import dataclass
from math import ceil

from bevdiag.config import DetectorConfig
from bevdiag.config.settings import DsvtSettings, SparseHeightCompressionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class BevJoint:
    """The volume that is flattened, and what becomes of its channels.

    Attributes:
        reads: "dsvt" or "encoder", whose tensor is flattened.
        channels: C of the volume [B, C, D, H, W]; `depth`, `height` and `width` its D, H, W.
        declared: NUM_BEV_FEATURES, what the 2D backbone is built for.
        real: the channels that arrive there.
        flattens: whether the full height becomes channels.
    """

    reads: str
    channels: int
    depth: int
    height: int
    width: int
    declared: int
    real: int
    flattens: bool


def bev_joint(config: DetectorConfig) -> BevJoint:
    """Derive the joint from the settings alone."""
    mapping = config.model.map_to_bev
    x, y, z = config.data.grid_size
    dsvt = config.model.backbone_3d.dsvt
    if mapping.input == "dsvt":
        x, y, z = stage_shapes(dsvt)[-1]
    channels = dsvt.d_model[-1] if mapping.input == "dsvt" else dsvt.d_model[0]
    mode = mapping.mode if isinstance(mapping, SparseHeightCompressionSettings) else "none"
    for stride in mapping.height_strides:
        z = ceil(z / stride)
    real = {"none": channels * z, "learned": mapping.num_bev_features}.get(mode, channels)
    return BevJoint(
        reads=mapping.input,
        channels=channels,
        depth=z,
        height=y,
        width=x,
        declared=mapping.num_bev_features,
        real=real,
        flattens=mode in ("none", "learned"),
    )


def stage_shapes(dsvt: DsvtSettings) -> list[tuple[int, int, int]]:
    """DSVT's sparse shape (x, y, z) in each stage: each transition divides, rounding up."""
    shapes = [dsvt.input_layer.sparse_shape]
    for dx, dy, dz in dsvt.input_layer.downsample_stride:
        x, y, z = shapes[-1]
        shapes.append((ceil(x / dx), ceil(y / dy), ceil(z / dz)))
    return shapes
