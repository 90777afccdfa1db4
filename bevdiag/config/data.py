"""DATA_CONFIG: what of it decides memory, which is the voxelizer and the point features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from bevdiag.config import tree
from bevdiag.config.checking import (
    Lengths,
    LowerCaseSettings,
    PositiveInt,
    Range,
    Settings,
    blame,
    checked,
)
from bevdiag.config.grid import AXES, grid_of
from bevdiag.config.model_settings import DataSettings
from bevdiag.config.tree import Listing, Section

MOST_FRAMES = 64
PADDED = "transform_points_to_voxels"
_PASTES = "gt_sampling"
_MOST_PASTED = 100
"""Of a class; configs name 2 to 20."""
DYNAMIC = "transform_points_to_voxels_placeholder"


class PointFeatures(LowerCaseSettings):
    """POINT_FEATURE_ENCODING: the values each point has, in order."""

    used_feature_list: tuple[str, ...] = Field(min_length=3)

    @model_validator(mode="after")
    def _coordinates_first(self) -> "PointFeatures":
        if self.used_feature_list[:3] != AXES:
            found = tree.shortened(", ".join(self.used_feature_list))
            problem = f"expected x, y, z first, found {found}"
            raise blame("used_feature_list", problem)
        return self


class PointSection(Settings):
    """DATA_CONFIG as far as every repository has it."""

    point_cloud_range: Range
    point_feature_encoding: PointFeatures

    @model_validator(mode="after")
    def _minimum_first(self) -> "PointSection":
        for axis, name in enumerate(AXES):
            low, high = self.point_cloud_range[axis], self.point_cloud_range[axis + 3]
            if low >= high:
                problem = f"{name} starts at {low:g} and ends at {high:g}"
                order = "expected [x_min, y_min, z_min, x_max, y_max, z_max]"
                raise blame("POINT_CLOUD_RANGE", f"{problem}: {order}")
        return self


class DataSection(PointSection):
    """DATA_CONFIG without its processors."""

    dataset: str = ""
    max_sweeps: Annotated[int, Field(strict=True, ge=1, le=MOST_FRAMES)] = 1


class VoxelCaps(LowerCaseSettings):
    """MAX_NUMBER_OF_VOXELS: a sample's most voxels, in training and in evaluation."""

    train: PositiveInt
    test: PositiveInt | None = None


def for_both(value: Any) -> Any:
    """Read one number, a common shorthand, as the mapping of two that OpenPCDet wants."""
    return {"train": value, "test": value} if isinstance(value, int) else value


class DynamicVoxelizer(Settings):
    """transform_points_to_voxels_placeholder: only sets the grid; the VFE voxelizes, uncapped."""

    voxel_size: Lengths

    @model_validator(mode="after")
    def _positive(self) -> "DynamicVoxelizer":
        for axis, size in zip(AXES, self.voxel_size, strict=True):
            if size <= 0:
                raise blame("VOXEL_SIZE", f"{axis} is {size:g} m: expected more than 0")
        return self


class PaddedVoxelizer(DynamicVoxelizer):
    """transform_points_to_voxels: voxels padded to MAX_POINTS_PER_VOXEL points."""

    max_points_per_voxel: PositiveInt
    max_number_of_voxels: Annotated[VoxelCaps, BeforeValidator(for_both)]


def read_data(root: Section) -> DataSettings:
    """Read the data settings of a merged config.

    Raises:
        ConfigError: for missing or ill-typed keys, no voxelizer, or a grid of broken voxels.
    """
    section = checked(DataSection, root, ("DATA_CONFIG",))
    path, is_padded = voxelizer_path(root)
    voxelizer = checked(PaddedVoxelizer if is_padded else DynamicVoxelizer, root, path)
    grid_size = checked_grid(section.point_cloud_range, voxelizer.voxel_size, root, path)
    padded = voxelizer if isinstance(voxelizer, PaddedVoxelizer) else None
    return DataSettings(
        point_cloud_range=section.point_cloud_range,
        voxel_size=voxelizer.voxel_size,
        grid_size=grid_size,
        max_points_per_voxel=padded.max_points_per_voxel if padded else None,
        max_voxels=padded.max_number_of_voxels.train if padded else None,
        max_test_voxels=padded.max_number_of_voxels.test if padded else None,
        point_features=section.point_feature_encoding.used_feature_list,
    )


def checked_grid(
    point_range: Sequence[float], voxel_size: Sequence[float], root: Section, path: tree.Path
) -> tuple[int, int, int]:
    """Return the grid in voxels of a voxelizer that stands at `path`.

    Raises:
        ConfigError: it has no voxel along an axis, or too many.
    """
    try:
        return grid_of(point_range, voxel_size)
    except ValueError as error:
        raise tree.error_at(root, (*path, "VOXEL_SIZE"), str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSettings:
    """What DATA_CONFIG says of a frame that training reads.

    Attributes:
        dataset: the name of the data set.
        stored: the values of a point in its files (src_feature_list); empty if unsaid.
        shuffled: whether training shuffles a sample's points before they are voxelized.
        frames: sweeps (MAX_SWEEPS) or frames (SEQUENCE_CONFIG) that one sample merges; 1 if unsaid.
        pasted: the class of each object that gt_sampling pastes into a frame (SAMPLE_GROUPS).
    """

    dataset: str
    stored: tuple[str, ...]
    shuffled: bool
    frames: int
    pasted: tuple[str, ...]


def frame_settings(data_config: object) -> FrameSettings:
    """Read what a config says of frames, of any repository's; what is not understood is unsaid."""
    encoding = _below(data_config, "POINT_FEATURE_ENCODING")
    return FrameSettings(
        dataset=str(_below(data_config, "DATASET") or ""),
        stored=tuple(map(str, _entries(encoding, "src_feature_list"))),
        shuffled=_shuffles_points(data_config),
        frames=_frames(data_config),
        pasted=tuple(_pasted_classes(data_config)),
    )


def _frames(data_config: object) -> int:
    frames, sequence = _below(data_config, "MAX_SWEEPS"), _below(data_config, "SEQUENCE_CONFIG")
    offsets = _entries(sequence, "SAMPLE_OFFSET")
    if _below(sequence, "ENABLED") and [type(offset) for offset in offsets] == [int, int]:
        frames = offsets[1] - offsets[0] + 1
    return min(max(frames, 1), MOST_FRAMES) if type(frames) is int else 1


def _pasted_classes(data_config: object) -> Iterator[str]:
    augmentor = _below(data_config, "DATA_AUGMENTOR")
    if _PASTES in _entries(augmentor, "DISABLE_AUG_LIST"):
        return
    for entry in _entries(augmentor, "AUG_CONFIG_LIST"):
        if _below(entry, "NAME") != _PASTES:
            continue
        for group in _entries(entry, "SAMPLE_GROUPS"):
            name, _, count = str(group).partition(":")
            number = int(count) if count.strip().isdecimal() else 0
            yield from [name.strip()] * min(number, _MOST_PASTED)


def _shuffles_points(data_config: object) -> bool:
    for entry in _entries(data_config, "DATA_PROCESSOR"):
        name = _below(entry, "NAME")
        if name in (PADDED, DYNAMIC):
            return False
        if name == "shuffle_points":
            enabled = _below(entry, "SHUFFLE_ENABLED")
            return bool(enabled.get("train") if isinstance(enabled, dict) else enabled)
    return False


def _below(section: object, key: str) -> Any:
    """Return what stands below `key`, None where it does not or there is no section.

    What is not written as OpenPCDet writes it counts as none: only scenes and point files ask.
    """
    return section.get(key) if isinstance(section, dict) else None


def _entries(section: object, key: str) -> Sequence[Any]:
    """Return the list below `key`, an empty one where there is none."""
    found = _below(section, key)
    return found if isinstance(found, (list, tuple)) else ()


def voxelizer_path(root: Section) -> tuple[tree.Path, bool]:
    """Where the voxelizer stands, and whether it pads; of several the last one counts.

    Raises:
        ConfigError: there is none.
    """
    path = ("DATA_CONFIG", "DATA_PROCESSOR")
    processors = tree.find(root, path)
    items = processors.items if isinstance(processors, Listing) else ()
    for index, item in reversed(list(enumerate(items))):
        name = tree.child(item, "NAME")
        if isinstance(name, tree.Scalar) and name.value in (PADDED, DYNAMIC):
            return (*path, str(index)), name.value == PADDED
    message = f"expected a list with a module named {PADDED} or {DYNAMIC}"
    raise tree.error_at(root, path, message)
