"""DATA_CONFIG: what of it decides memory, which is the voxelizer and the point features."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from bevdiag.config import tree
from bevdiag.config.checking import checked
from bevdiag.config.fields import (
    Lengths,
    LowerCaseSettings,
    PositiveInt,
    Range,
    Settings,
    blame,
)
from bevdiag.config.grid import AXES, grid_of
from bevdiag.config.model_settings import DataSettings
from bevdiag.config.tree import Listing, Section
from bevdiag.errors import ConfigError

MOST_FRAMES = 64
PADDED = "transform_points_to_voxels"
_PASTES = "gt_sampling"
_MOST_PASTED = 100
"""Of a class; configs name 2 to 20."""
_SHUFFLE = "shuffle_points"
_ENCODING = "POINT_FEATURE_ENCODING"
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


class DataSection(Settings):
    """DATA_CONFIG without its processors."""

    dataset: str = ""
    point_cloud_range: Range
    point_feature_encoding: PointFeatures

    @model_validator(mode="after")
    def _minimum_first(self) -> "DataSection":
        for axis, name in enumerate(AXES):
            low, high = self.point_cloud_range[axis], self.point_cloud_range[axis + 3]
            if low >= high:
                problem = f"{name} starts at {low:g} and ends at {high:g}"
                order = "expected [x_min, y_min, z_min, x_max, y_max, z_max]"
                raise blame("POINT_CLOUD_RANGE", f"{problem}: {order}")
        return self


class VoxelCaps(LowerCaseSettings):
    """MAX_NUMBER_OF_VOXELS: a sample's most voxels, in training and in evaluation."""

    train: PositiveInt
    test: PositiveInt | None = None


def _for_both(value: Any) -> Any:
    # OpenPCDet wants the mapping; one number for both modes is a common shorthand.
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
    max_number_of_voxels: Annotated[VoxelCaps, BeforeValidator(_for_both)]


def read_data(root: Section) -> DataSettings:
    """Read the data settings of a merged config.

    Raises:
        ConfigError: for missing or ill-typed keys, no voxelizer, or a grid of broken voxels.
    """
    section = checked(DataSection, root, ("DATA_CONFIG",))
    path, is_padded = voxelizer_path(root)
    voxelizer = checked(PaddedVoxelizer if is_padded else DynamicVoxelizer, root, path)
    size_path = (*path, "VOXEL_SIZE")
    written = tree.plain(tree.descend(root, ("DATA_CONFIG",))[0])
    grid_size = grid_of(
        section.point_cloud_range,
        voxelizer.voxel_size,
        location=tree.descend(root, size_path)[0].location,
        key=tree.dotted(size_path),
    )
    padded = voxelizer if isinstance(voxelizer, PaddedVoxelizer) else None
    return DataSettings(
        point_cloud_range=section.point_cloud_range,
        voxel_size=voxelizer.voxel_size,
        grid_size=grid_size,
        max_points_per_voxel=padded.max_points_per_voxel if padded else None,
        max_voxels=padded.max_number_of_voxels.train if padded else None,
        max_test_voxels=padded.max_number_of_voxels.test if padded else None,
        point_features=section.point_feature_encoding.used_feature_list,
        dataset=section.dataset,
        frames=frames_of(written),
        stored_features=stored_features_of(written),
        shuffles_points=shuffles_points(written),
        pasted_classes=pasted_classes_of(written),
    )


def frames_of(data_config: object) -> int:
    """How many sweeps (MAX_SWEEPS) or frames (SEQUENCE_CONFIG) one sample merges.

    What is not written as OpenPCDet writes it counts as one: only the synthetic scene asks.
    """
    if not isinstance(data_config, dict):
        return 1
    sweeps, sequence = data_config.get("MAX_SWEEPS"), data_config.get("SEQUENCE_CONFIG")
    if isinstance(sequence, dict) and sequence.get("ENABLED"):
        offsets = sequence.get("SAMPLE_OFFSET")
        if isinstance(offsets, (list, tuple)) and len(offsets) == 2:
            first, last = offsets
            if type(first) is int and type(last) is int:
                return min(max(last - first + 1, 1), MOST_FRAMES)
    return min(max(sweeps, 1), MOST_FRAMES) if type(sweeps) is int else 1


def stored_features_of(data_config: object) -> tuple[str, ...]:
    """Return the values of a point in the data set's files (src_feature_list); empty if not named.

    What is not written as OpenPCDet writes it counts as none: only point files ask.
    """
    encoding = data_config.get(_ENCODING) if isinstance(data_config, dict) else None
    names = encoding.get("src_feature_list") if isinstance(encoding, dict) else None
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def pasted_classes_of(data_config: object) -> tuple[str, ...]:
    """Return the class of each object that gt_sampling pastes into a frame (SAMPLE_GROUPS).

    What is not written as OpenPCDet writes it counts as none: only the synthetic scene asks.
    """
    augmentor = data_config.get("DATA_AUGMENTOR") if isinstance(data_config, dict) else None
    if not isinstance(augmentor, dict):
        return ()
    disabled, entries = augmentor.get("DISABLE_AUG_LIST"), augmentor.get("AUG_CONFIG_LIST")
    if isinstance(disabled, (list, tuple)) and _PASTES in disabled:
        return ()
    classes: list[str] = []
    for entry in entries if isinstance(entries, (list, tuple)) else ():
        groups = entry.get("SAMPLE_GROUPS") if isinstance(entry, dict) else None
        if isinstance(groups, (list, tuple)) and entry.get("NAME") == _PASTES:
            for group in groups:
                name, _, count = str(group).partition(":")
                number = int(count) if count.strip().isdecimal() else 0
                classes += [name.strip()] * min(number, _MOST_PASTED)
    return tuple(classes)


def shuffles_points(data_config: object) -> bool:
    """Whether training shuffles a sample's points before they are voxelized."""
    processors = data_config.get("DATA_PROCESSOR") if isinstance(data_config, dict) else None
    for entry in processors if isinstance(processors, (list, tuple)) else ():
        name = entry.get("NAME") if isinstance(entry, dict) else None
        if name in (PADDED, DYNAMIC):
            return False
        if name == _SHUFFLE:
            enabled = entry.get("SHUFFLE_ENABLED")
            return bool(enabled.get("train") if isinstance(enabled, dict) else enabled)
    return False


def voxelizer_path(root: Section) -> tuple[tree.Path, bool]:
    """Where the voxelizer stands, and whether it pads; of several the last one counts.

    Raises:
        ConfigError: there is none.
    """
    path = ("DATA_CONFIG", "DATA_PROCESSOR")
    processors = tree.find(root, path)
    found: tuple[tree.Path, bool] | None = None
    for index, item in enumerate(processors.items if isinstance(processors, Listing) else ()):
        name = tree.child(item, "NAME")
        if isinstance(name, tree.Scalar) and name.value in (PADDED, DYNAMIC):
            found = (*path, str(index)), name.value == PADDED
    if found is not None:
        return found
    where = tree.descend(root, path)[0].location
    message = f"expected a list with a module named {PADDED} or {DYNAMIC}"
    raise ConfigError(message, location=where, key=tree.dotted(path))
