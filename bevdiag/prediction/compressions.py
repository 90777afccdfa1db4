"""The ways to turn the volume into a BEV map, as changes to a config."""

from typing import get_args

from bevdiag.config import DetectorConfig
from bevdiag.config.settings import CompressionMode
from bevdiag.errors import InputError
from bevdiag.models.bev import bev_joint

MODES: tuple[str, ...] = get_args(CompressionMode)

LEARNED_CHANNELS = 256
"""What the report's own learned projection declares (its NUM_BEV_FEATURES)."""

_MAP = ("MODEL", "MAP_TO_BEV")
Changes = dict[tuple[str, ...], object]


def compression_changes(config: DetectorConfig, mode: str) -> Changes:
    """The keys that switch a config to `mode`, with the channels that follow from it.

    Raises:
        InputError: no such mode, or no volume that it could reduce.
    """
    if mode not in MODES:
        raise InputError(f"--compression {mode!r} is unknown: choose from {', '.join(MODES)}")
    joint = bev_joint(config)
    if not joint.is_volume:
        if mode == "none":
            return {}
        name = config.model.map_to_bev.name
        raise InputError(f"--compression {mode}: {name} scatters pillars, there is no height to it")
    flat = joint.channels * joint.depth
    if mode == "none":
        return {(*_MAP, "NAME"): "HeightCompression", (*_MAP, "NUM_BEV_FEATURES"): flat}
    changes: Changes = {
        (*_MAP, "NAME"): "SparseHeightCompression",
        (*_MAP, "MODE"): mode,
        (*_MAP, "NUM_BEV_FEATURES"): joint.channels,
    }
    if mode == "learned":
        changes[(*_MAP, "INPUT_FEATURES")] = flat
        changes[(*_MAP, "NUM_BEV_FEATURES")] = LEARNED_CHANNELS
    return changes
