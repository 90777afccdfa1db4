"""The map_input between the 3D and the 2D half of a detector: how high, how many channels."""

from dataclasses import dataclass
from math import ceil
from typing import Protocol, get_args

from bevdiag.config import DetectorConfig
from bevdiag.config.bev_settings import (
    PillarScatter3dSettings,
    PillarScatterSettings,
    SparseHeightCompressionSettings,
)
from bevdiag.config.settings import (
    CompressionMode,
    DataSettings,
    FocalDsvtSettings,
    ModelSettings,
)
from bevdiag.errors import InputError
from bevdiag.models.interfaces import bev_input, pillar_channels, sparse_volume

PILLARS = "pillars"
Changes = dict[tuple[str, ...], object]
"""Keys of a config and their new values."""
MODES: tuple[str, ...] = get_args(CompressionMode)
LEARNED_CHANNELS = 256
"""What the report's own learned projection declares (its NUM_BEV_FEATURES)."""
_MAP = ("MODEL", "MAP_TO_BEV")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInput:
    """What the BEV map is made of, and what becomes of its channels.

    Attributes:
        reads: whose volume is flattened, "dsvt", "encoder" or "backbone_3d"; "pillars" where
            pillars or voxels are scattered and no volume is made.
        channels: C of the volume [B, C, D, H, W]; `depth`, `height` and `width` its D, H, W.
        declared: NUM_BEV_FEATURES, what the 2D backbone is built for.
        real: the channels that arrive there.
        flattens: whether the volume's full height becomes channels.
    """

    reads: str
    channels: int
    depth: int
    height: int
    width: int
    declared: int
    real: int
    flattens: bool

    @property
    def is_volume(self) -> bool:
        """Whether a sparse volume is turned into the map."""
        return self.reads != PILLARS


class HasModel(Protocol):
    """A config, or as much of one as makes the BEV map."""

    @property
    def model(self) -> ModelSettings: ...

    @property
    def data(self) -> DataSettings: ...


def map_input_of(config: HasModel) -> MapInput:
    """Derive the map_input from the settings alone."""
    model, mapping = config.model, config.model.map_to_bev
    volume = sparse_volume(model, config.data)
    if isinstance(mapping, (PillarScatterSettings, PillarScatter3dSettings)) or volume is None:
        return _pillar_input(config)
    reads = bev_input(model) if isinstance(model.backbone_3d, FocalDsvtSettings) else "backbone_3d"
    mode = mapping.mode if isinstance(mapping, SparseHeightCompressionSettings) else "none"
    z, y, x = volume.spatial_shape
    for stride in mapping.height_strides:
        z = ceil(z / stride)
    flat = {"none": volume.channels * z, "learned": mapping.num_bev_features}
    return MapInput(
        reads=reads,
        channels=volume.channels,
        depth=z,
        height=y,
        width=x,
        declared=mapping.num_bev_features,
        real=flat.get(mode, volume.channels),
        flattens=mode in flat,
    )


def _pillar_input(config: HasModel) -> MapInput:
    mapping, channels = config.model.map_to_bev, pillar_channels(config.model, config.data)
    x, y, z = config.data.grid_size
    if isinstance(mapping, PillarScatter3dSettings):
        x, y, z = mapping.input_shape
    return MapInput(
        reads=PILLARS,
        channels=channels,
        depth=z,
        height=y,
        width=x,
        declared=mapping.num_bev_features,
        real=channels * z,
        flattens=False,
    )


def compression_changes(config: DetectorConfig, mode: str) -> Changes:
    """Return the keys that switch a config to `mode`, with the channels that follow from it.

    Raises:
        InputError: no such mode, or no volume that it could reduce.
    """
    if mode not in MODES:
        raise InputError(f"--compression {mode!r} is unknown: choose from {', '.join(MODES)}")
    map_input = map_input_of(config)
    if not map_input.is_volume:
        if mode == "none":
            return {}
        name = config.model.map_to_bev.name
        raise InputError(f"--compression {mode}: {name} scatters pillars, there is no height to it")
    flat = map_input.channels * map_input.depth
    if mode == "none":
        return {(*_MAP, "NAME"): "HeightCompression", (*_MAP, "NUM_BEV_FEATURES"): flat}
    changes: Changes = {
        (*_MAP, "NAME"): "SparseHeightCompression",
        (*_MAP, "MODE"): mode,
        (*_MAP, "NUM_BEV_FEATURES"): map_input.channels,
    }
    if mode == "learned":
        changes[(*_MAP, "INPUT_FEATURES")] = flat
        changes[(*_MAP, "NUM_BEV_FEATURES")] = LEARNED_CHANNELS
    return changes
