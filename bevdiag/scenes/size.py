"""How large a batch may be: every point is voxelized and paired with its neighbours on the CPU."""

from bevdiag.errors import InputError

MAX_VALUES = 2**26
"""Of all points together, e.g. 16 frames a sample for three samples of Waymo, of 6 values a point;
their voxels and rulebooks take some gigabytes and minutes."""


def check_batch(num_points: int, num_features: int) -> None:
    """Refuses points that are too many to be made up or read.

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
