"""What bevdiag itself needs of a repository's config; the rest is the repository's business."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from bevdiag.config import Document, read_document, tree
from bevdiag.config.checking import (
    Lengths,
    LowerCaseSettings,
    PositiveInt,
    Settings,
    WholeInt,
    checked,
)
from bevdiag.config.data import PointSection, checked_grid, for_both
from bevdiag.config.load import ClassNames
from bevdiag.config.model_settings import OptimizationSettings

_OPTIMIZERS = ("adam", "adamw", "sgd", "adam_onecycle", "adam_cosineanneal")
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
    root = document.root
    data = checked(_Data, root, ("DATA_CONFIG",))
    has_velocity = data.pred_velocity or data.train_with_speed
    return SourceSettings(
        path=path,
        document=document,
        class_names=checked(ClassNames, root, ()).class_names,
        point_features=data.point_feature_encoding.used_feature_list,
        point_cloud_range=data.point_cloud_range,
        box_size=7 + (_VELOCITY_COLUMNS if has_velocity else 0),
        optimization=_optimization(document),
        **_processed(data, root, split),
    )


class _Counts(LowerCaseSettings):
    """How many of something a sample keeps in training and in evaluation; -1 for all."""

    train: WholeInt
    test: WholeInt | None = None


_Kept = Annotated[_Counts | None, BeforeValidator(for_both)]


class _Processor(Settings):
    name: Any = None
    voxel_size: Lengths | None = None
    max_points_per_voxel: WholeInt | None = None
    max_number_of_voxels: _Kept = None
    num_points: _Kept = None
    downsample_factor: PositiveInt | None = None


class _Data(PointSection):
    data_processor: tuple[_Processor, ...] | None = None
    pred_velocity: Any = False
    train_with_speed: Any = False


def _optimization(document: Document) -> OptimizationSettings:
    """OPTIMIZATION as bevdiag's own; an optimizer under another spelling is the nearest one."""
    key = ("OPTIMIZATION", "OPTIMIZER")
    written = document.get(tree.dotted(key))
    if isinstance(written, str):
        document = document.edited({key: _nearest_optimizer(written)})
    return checked(OptimizationSettings, document.root, key[:1])


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


def _processed(data: _Data, root: tree.Section, split: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, entry in enumerate(data.data_processor or ()):
        path = ("DATA_CONFIG", "DATA_PROCESSOR", str(number))
        if entry.voxel_size is not None and "voxel_size" not in found:
            bounds, most = data.point_cloud_range, entry.max_points_per_voxel
            found["voxel_size"] = entry.voxel_size
            found["grid_size"] = checked_grid(bounds, entry.voxel_size, root, path)
            if most is not None and entry.max_number_of_voxels is not None:
                found["max_points"] = most if most > 0 else None
                key = (*path, "MAX_NUMBER_OF_VOXELS", split)
                found["max_voxels"] = _count(entry.max_number_of_voxels, root, key)
        if entry.name == "sample_points" and entry.num_points is not None:
            key = (*path, "NUM_POINTS", split)
            found["num_sampled_points"] = _count(entry.num_points, root, key)
        if entry.name == "downsample_depth_map":
            found["depth_downsample_factor"] = entry.downsample_factor
    return found


def _count(counts: _Counts, root: tree.Section, key: tree.Path) -> int:
    count: int | None = getattr(counts, key[-1])
    if count is None:
        raise tree.error_at(root, key, "is missing: expected a whole number")
    return count


def _plain(node: tree.Node) -> Any:
    if isinstance(node, tree.Section):
        return {key: _plain(item) for key, item in node.entries.items()}
    if isinstance(node, tree.Listing):
        return [_plain(item) for item in node.items]
    return node.value
