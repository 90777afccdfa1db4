"""Which columns of a file the config uses, and whether they can be a cloud of its sensor."""

from collections.abc import Sequence

import numpy as np

from bevdiag.errors import InputError
from bevdiag.scenes.point_layout import PointLayout, Points, Range, within

FAR = 1e4
"""Metres; no sensor of a detector sees as far."""
_TINY = 1e-6
"""Metres; a coordinate is 0 or larger than this, but bytes of another type seldom are."""
MOST_NONSENSE = 0.05
FEWEST_ROWS = 64
"""Fewer rows say nothing about their columns."""
_FEW_INSIDE = 0.1


def nonsense_share(coordinates: np.ndarray) -> float:  # type: ignore[type-arg]
    """Share of x, y and z [N, 3] that no sensor reports: too far, or next to nothing."""
    size = np.abs(coordinates.astype(np.float64))
    known = size[np.isfinite(size)]
    if 2 * len(known) < size.size:
        return 1.0
    return float(np.mean((known > FAR) | ((known > 0) & (known < _TINY))))


def inside_share(points: np.ndarray, bounds: Range) -> float:  # type: ignore[type-arg]
    """Share of points [N, 3+] that lie inside the range."""
    return float(within(points, bounds).mean()) if len(points) else 0.0


def without_gaps(points: Points) -> tuple[Points, list[str]]:
    """Return the points whose values are all finite, and a note on the others.

    Raises:
        InputError: there are none.
    """
    finite = np.isfinite(points).all(axis=1)
    dropped = len(points) - int(finite.sum())
    if not dropped:
        return points, []
    if dropped == len(points):
        raise InputError(f"all of its {dropped} points hold NaN or infinite values: check the file")
    rows = f"{dropped} of {len(points)} points hold NaN or infinite values and are dropped"
    return points[finite], [rows]


def doubts_of(points: Points, bounds: Range) -> list[str]:
    """Note what is odd about finite points [N, F].

    Raises:
        InputError: they cannot be what they were taken for.
    """
    far = float(np.mean(np.abs(points[:, :3]) > FAR))
    if far > MOST_NONSENSE:
        raise InputError(
            f"{far:.0%} of the coordinates lie beyond {FAR:,.0f} m: give metres from the "
            "sensor, and for a .bin file its --point-columns and --point-dtype"
        )
    notes = [f"{far:.2%} of the coordinates lie beyond {FAR:,.0f} m"] if far else []
    if len(points) < FEWEST_ROWS:
        return notes
    share = inside_share(points, bounds)
    if share < _FEW_INSIDE:
        notes.append(
            f"only {share:.1%} of the points lie inside POINT_CLOUD_RANGE: check the unit "
            "(metres) and the order of the columns"
        )
    for a, b in ((0, 1), (0, 2), (1, 2)):
        if np.array_equal(points[:, a], points[:, b]):
            notes.append(f"columns {_AXES[a]} and {_AXES[b]} are equal in every row")
    return notes


_NAMES_ALIKE = (
    frozenset({"intensity", "i", "reflectance", "reflectivity", "remission", "remissions"}),
    frozenset({"timestamp", "time", "t", "time_offset", "time_lag", "dt"}),
)
_SCALAR = "scalar_"
"""CloudCompare's prefix of every column that is no coordinate, color or normal."""
_AXES = ("x", "y", "z")


def chosen_columns(
    num_columns: int, names: Sequence[str], layout: PointLayout
) -> tuple[list[int], list[str]]:
    """Choose the columns of the used features, in their order; notes on those that were guessed.

    Args:
        num_columns: that it has.
        names: of its columns as the file says; empty where it does not, then src_feature_list
            does, and where that does not fit the features come first.
        layout: what the config says.

    Raises:
        InputError: x, y or z is missing, or there are fewer columns than features.
    """
    if names:
        return _by_own_names(names, layout.features)
    if num_columns < len(layout.features):
        raise InputError(
            f"has {num_columns} columns a point, but the config uses "
            f"{len(layout.features)} features: add the missing columns or shorten "
            "used_feature_list"
        )
    if set(layout.features) <= set(layout.stored):
        columns = [layout.stored.index(feature) for feature in layout.features]
        if max(columns) < num_columns:
            return columns, []
    return list(range(len(layout.features))), []


def _by_own_names(names: Sequence[str], features: Sequence[str]) -> tuple[list[int], list[str]]:
    plain = [_plain(name) for name in names]
    missing = [axis for axis in _AXES if axis not in plain]
    if missing:
        raise InputError(
            f"has no column {', '.join(missing)}: a point needs columns named x, y and z"
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
                f"has {len(names)} columns a point, but the config uses {len(features)} "
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
