"""What is known of point files before one is opened."""

from dataclasses import dataclass

from bevdiag.scenes.arrays import Range

DTYPES = ("float16", "float32", "float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
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
