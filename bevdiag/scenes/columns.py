"""Which columns of a file are the values that the config uses."""

from collections.abc import Sequence
from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.scenes.layout import Layout

_NAMES_ALIKE = (
    frozenset({"intensity", "i", "reflectance", "reflectivity", "remission", "remissions"}),
    frozenset({"timestamp", "time", "t", "time_offset", "time_lag", "dt"}),
)
_SCALAR = "scalar_"
"""CloudCompare's prefix of every column that is no coordinate, color or normal."""
_AXES = ("x", "y", "z")


def chosen_columns(
    path: Path, num_columns: int, names: Sequence[str], layout: Layout
) -> tuple[list[int], list[str]]:
    """Choose the columns of the used features, in their order; notes on those that were guessed.

    Args:
        path: the file, for errors.
        num_columns: that it has.
        names: of its columns as the file says; empty where it does not, then src_feature_list
            does, and where that does not fit the features come first.
        layout: what the config says.

    Raises:
        InputError: x, y or z is missing, or there are fewer columns than features.
    """
    if names:
        return _by_own_names(path, names, layout.features)
    if num_columns < len(layout.features):
        raise InputError(
            f"{path}: has {num_columns} columns a point, but the config uses "
            f"{len(layout.features)} features: add the missing columns or shorten "
            "used_feature_list"
        )
    if set(layout.features) <= set(layout.stored):
        columns = [layout.stored.index(feature) for feature in layout.features]
        if max(columns) < num_columns:
            return columns, []
    return list(range(len(layout.features))), []


def _by_own_names(
    path: Path, names: Sequence[str], features: Sequence[str]
) -> tuple[list[int], list[str]]:
    plain = [_plain(name) for name in names]
    missing = [axis for axis in _AXES if axis not in plain]
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing)}: a point needs columns named x, y and z"
        )
    found = {f: plain.index(_plain(f)) for f in features if _plain(f) in plain}
    for axis, feature in zip(_AXES, features, strict=False):
        found[feature] = plain.index(axis)
    spare = [i for i in range(len(names)) if i not in found.values()]
    notes = []
    for feature in features:
        if feature in found:
            continue
        if not spare:
            raise InputError(
                f"{path}: has {len(names)} columns a point, but the config uses {len(features)} "
                f"features, of which {feature} is missing: add the missing columns or shorten "
                "used_feature_list"
            )
        found[feature] = spare.pop(0)
        notes.append(
            f"no column is named {feature}, {names[found[feature]]!r} is read in its place"
        )
    return [found[feature] for feature in features], notes


def _plain(name: str) -> str:
    """One name for all that mean the same."""
    name = name.strip().strip("\"'").lower().removeprefix(_SCALAR)
    return next((min(alike) for alike in _NAMES_ALIKE if name in alike), name)
