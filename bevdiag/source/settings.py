"""What bevdiag itself needs of a repository's config; the rest is the repository's business."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bevdiag.config import Document, read_document, tree
from bevdiag.config.checking import checked
from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.errors import ConfigError, Location

_OPTIMIZERS = ("adam", "adamw", "sgd", "adam_onecycle", "adam_cosineanneal")
_PADDED = ("MAX_POINTS_PER_VOXEL", "MAX_NUMBER_OF_VOXELS")
_VELOCITY_COLUMNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """A config of a repository, read but not interpreted.

    Attributes:
        voxel_size: x, y, z in metres, None where the model takes points alone.
        grid_size: x, y, z in voxels, rounded as OpenPCDet does; None likewise.
        max_points: points a voxel keeps, None without hard voxelization or where it keeps all.
        max_voxels: voxels a sample keeps, None likewise.
        num_sampled_points: points a sample is cut or filled up to, None for all.
        depth_downsample_factor: of the depth maps, None without.
        box_size: columns of a ground-truth box without its class.
        batch_key: where the batch size is written.
        half_precision: the key that turns fp16 autocast on, and its value; None where the training
            code has no autocast.
        is_code: whether the file is a program, whose values have no places in it.
    """

    path: Path
    document: Document
    class_names: tuple[str, ...]
    point_features: tuple[str, ...]
    point_cloud_range: tuple[float, float, float, float, float, float]
    voxel_size: tuple[float, float, float] | None = None
    grid_size: tuple[int, int, int] | None = None
    max_points: int | None = None
    max_voxels: int | None = None
    num_sampled_points: int | None = None
    depth_downsample_factor: int | None = None
    box_size: int
    optimization: OptimizationSettings
    batch_key: tuple[str, ...] = ("OPTIMIZATION", "BATCH_SIZE_PER_GPU")
    half_precision: tuple[tuple[str, ...], object] | None = (("OPTIMIZATION", "USE_AMP"), True)
    is_code: bool = False

    def values(self) -> dict[str, Any]:
        """Return the whole config as dicts, lists and scalars."""
        values: dict[str, Any] = _plain(self.document.root)
        return values


def read_source_config(
    path: Path, overrides: Sequence[str] = (), split: str = "train"
) -> SourceSettings:
    """Read a config of any repository in OpenPCDet's dialect; its module names may be unknown.

    Args:
        path: the YAML file.
        overrides: `KEY=value` texts.
        split: "train" or "test": whose counts of voxels and points are taken.

    Raises:
        ConfigError: the file cannot be read, or lacks the classes, the range or the features.
    """
    document = read_document(path, overrides)
    config = _plain(document.root)
    where = Location(path, 1, 1)
    data = _section(config, "DATA_CONFIG", where)
    encoding = _section(data, "POINT_FEATURE_ENCODING", where)
    bounds = data.get("POINT_CLOUD_RANGE")
    if not isinstance(bounds, list) or len(bounds) != 6:
        raise ConfigError(
            "expected [x_min, y_min, z_min, x_max, y_max, z_max]",
            location=where,
            key="DATA_CONFIG.POINT_CLOUD_RANGE",
        )
    names = config.get("CLASS_NAMES")
    if not isinstance(names, list) or not names:
        raise ConfigError("expected a list of class names", location=where, key="CLASS_NAMES")
    low_x, low_y, low_z, high_x, high_y, high_z = map(float, bounds)
    velocity = data.get("PRED_VELOCITY", False) or data.get("TRAIN_WITH_SPEED", False)
    return SourceSettings(
        path=path,
        document=document,
        class_names=tuple(map(str, names)),
        point_features=tuple(map(str, encoding.get("used_feature_list", ()))),
        point_cloud_range=(low_x, low_y, low_z, high_x, high_y, high_z),
        box_size=7 + (_VELOCITY_COLUMNS if velocity else 0),
        optimization=_optimization(path, document, overrides),
        **_processed(data.get("DATA_PROCESSOR") or [], bounds, split),
    )


def _optimization(path: Path, document: Document, overrides: Sequence[str]) -> OptimizationSettings:
    """OPTIMIZATION as bevdiag's own; an optimizer under another spelling is the nearest one."""
    written = document.get("OPTIMIZATION.OPTIMIZER")
    meant = _nearest_optimizer(written) if isinstance(written, str) else written
    if meant != written:
        document = read_document(path, (*overrides, f"OPTIMIZATION.OPTIMIZER={meant}"))
    return checked(OptimizationSettings, document.root, ("OPTIMIZATION",))


def _nearest_optimizer(written: str) -> str:
    """Find the name that OpenPCDet has for what a repository calls its optimizer."""
    lowered = written.lower()
    if lowered in _OPTIMIZERS:
        return lowered
    if lowered.startswith("adamw"):
        return "adamw"
    if lowered.startswith("adam_"):
        # Schedules of their own; the state of Adam is the same for all of them.
        return "adam_onecycle"
    # Of one that is none of these, the repository's own code knows more; or else a note says so.
    return next((name for name in ("adam", "sgd") if name in lowered), "adamw")


def _processed(processors: list[Any], bounds: list[float], split: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in processors:
        name = entry.get("NAME")
        if entry.get("VOXEL_SIZE") and "voxel_size" not in found:
            size = [float(value) for value in entry["VOXEL_SIZE"]]
            extent = np.asarray(bounds[3:], np.float32) - np.asarray(bounds[:3], np.float32)
            found["voxel_size"] = tuple(size)
            found["grid_size"] = tuple(int(n) for n in np.round(extent / np.asarray(size)))
            if all(key in entry for key in _PADDED):
                most = entry["MAX_NUMBER_OF_VOXELS"]
                points = int(entry["MAX_POINTS_PER_VOXEL"])
                found["max_points"] = points if points > 0 else None
                found["max_voxels"] = int(most[split] if isinstance(most, dict) else most)
        if name == "sample_points":
            count = entry["NUM_POINTS"]
            found["num_sampled_points"] = int(count[split] if isinstance(count, dict) else count)
        if name == "downsample_depth_map":
            found["depth_downsample_factor"] = int(entry["DOWNSAMPLE_FACTOR"])
    return found


def _section(config: dict[str, Any], key: str, where: Location) -> dict[str, Any]:
    section = config.get(key)
    if not isinstance(section, dict):
        raise ConfigError("expected a mapping, found nothing of the kind", location=where, key=key)
    return section


def _plain(node: tree.Node) -> Any:
    if isinstance(node, tree.Section):
        return {key: _plain(item) for key, item in node.entries.items()}
    if isinstance(node, tree.Listing):
        return [_plain(item) for item in node.items]
    return node.value
