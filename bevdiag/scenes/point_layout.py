"""What is known of point files before one is opened, and how many points a batch may have."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError

Range = tuple[float, float, float, float, float, float]
"""x_min, y_min, z_min, x_max, y_max, z_max in metres."""

Points: TypeAlias = NDArray[np.float32]
"""[N, F]: x, y, z in metres, then the sensor's features."""
DTYPES = ("float16", "float32", "float64")
MAX_VALUES = 2**26
"""Of all points together, e.g. three samples of 16 frames of Waymo, of 6 values a point. Every one
is voxelized and paired with its neighbours on the CPU, which takes gigabytes and minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointLayout:
    """What the config and the options say of point files.

    Attributes:
        features: the values of a point that the model uses, x, y, z first (used_feature_list).
        stored: the values of a point in the data set's files (src_feature_list); may be empty.
        point_cloud_range: of the config, in metres.
        shuffled: whether the config shuffles the points before it voxelizes them.
        columns: values a row of .bin files (--point-columns), None: as many as are stored.
        dtype: of the values of .bin files (--point-dtype), None: float32.
    """

    features: tuple[str, ...]
    point_cloud_range: Range
    stored: tuple[str, ...] = ()
    shuffled: bool = False
    columns: int | None = None
    dtype: str | None = None


def within(points: NDArray[Any], bounds: Range) -> NDArray[np.bool_]:
    """Return whether each of points [N, 3+] lies inside the range, its upper edges left out."""
    low, high = np.asarray(bounds[:3]), np.asarray(bounds[3:])
    inside: NDArray[np.bool_] = np.all((points[:, :3] >= low) & (points[:, :3] < high), axis=1)
    return inside


def check_batch(num_points: int, num_features: int) -> None:
    """Refuse points that are too many to be made up or read.

    Args:
        num_points: of all samples.
        num_features: values a point, x, y and z included.

    Raises:
        InputError: they are.
    """
    if num_points * num_features > MAX_VALUES:
        raise InputError(
            f"{num_points} points of {num_features} values are too many for one batch: expected "
            f"at most {MAX_VALUES} values in all: lower the batch size or thin the clouds"
        )
