"""Whether what was read from a point file can be a point cloud of the config's sensor."""

from pathlib import Path

import numpy as np

from bevdiag.errors import InputError
from bevdiag.scenes.layout import Points, Range

FAR = 1e4
"""Metres; no sensor of a detector sees as far."""
_TINY = 1e-6
"""Metres; a coordinate is 0 or larger than this, but bytes of another type seldom are."""
MOST_NONSENSE = 0.05
FEWEST_ROWS = 64
"""Fewer rows say nothing about their columns."""
_FEW_INSIDE = 0.1
_AXES = "xyz"


def nonsense_share(coordinates: np.ndarray) -> float:  # type: ignore[type-arg]
    """Share of x, y and z [N, 3] that no sensor reports: too far, or next to nothing."""
    size = np.abs(coordinates.astype(np.float64))
    known = size[np.isfinite(size)]
    if 2 * len(known) < size.size:
        return 1.0
    return float(np.mean((known > FAR) | ((known > 0) & (known < _TINY))))


def inside_share(points: np.ndarray, bounds: Range) -> float:  # type: ignore[type-arg]
    """Share of points [N, 3+] that lie inside the range."""
    xyz = points[:, :3].astype(np.float64)
    with np.errstate(invalid="ignore"):
        inside = np.all((xyz >= bounds[:3]) & (xyz <= bounds[3:]), axis=1)
    return float(inside.mean()) if len(inside) else 0.0


def without_gaps(path: Path, points: Points) -> tuple[Points, list[str]]:
    """Return the points whose values are all finite, and a note on the others.

    Raises:
        InputError: there are none.
    """
    finite = np.isfinite(points).all(axis=1)
    dropped = len(points) - int(finite.sum())
    if not dropped:
        return points, []
    if dropped == len(points):
        raise InputError(
            f"{path}: all of its {dropped} points hold NaN or infinite values: check the file"
        )
    rows = f"{dropped} of {len(points)} points hold NaN or infinite values and are dropped"
    return points[finite], [rows]


def doubts_of(path: Path, points: Points, bounds: Range) -> list[str]:
    """Note what is odd about finite points [N, F].

    Raises:
        InputError: they cannot be what they were taken for.
    """
    far = float(np.mean(np.abs(points[:, :3]) > FAR))
    if far > MOST_NONSENSE:
        raise InputError(
            f"{path}: {far:.0%} of the coordinates lie beyond {FAR:,.0f} m: give metres from the "
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
