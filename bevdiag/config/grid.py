"""The voxel grid of a point cloud range, which must be a whole number of voxels."""

import math
from collections.abc import Sequence

from bevdiag.errors import ConfigError, Location

AXES = ("x", "y", "z")
MAX_CELLS = 2**48
"""Of a grid: an int64 numbers the cells of a whole batch, and of margins around them."""
MAX_VOXELS = 2**20
"""Along an axis: 52 km of 5 cm each; every position has its entries in tables of neighbours."""
TOLERANCE_VOXELS = 1e-3
"""Decimals such as 70.4 / 0.05 miss a whole number by the rounding of float32, never by more."""


def whole_grid(
    point_range: Sequence[float], voxel_size: Sequence[float], *, location: Location, key: str
) -> tuple[int, int, int]:
    """The grid (x, y, z) in voxels.

    Args:
        point_range: x, y, z minimum, then x, y, z maximum, in metres.
        voxel_size: x, y, z, in metres.
        location: of the voxel size, for errors.
        key: of the voxel size, for errors.

    Raises:
        ConfigError: where an axis is no whole number of voxels (names lengths that would be), or
            the grid has too many.
    """
    x, y, z = (
        _voxels(axis, point_range[axis], point_range[axis + 3], voxel_size[axis], location, key)
        for axis in range(3)
    )
    if x * y * z >= MAX_CELLS:
        message = f"{x} x {y} x {z} voxels: expected a grid of fewer than 2^48"
        raise ConfigError(message, location=location, key=key)
    return x, y, z


def _voxels(axis: int, low: float, high: float, voxel: float, location: Location, key: str) -> int:
    count = whole_voxels(low, high, voxel)
    if count is None:
        raise ConfigError(misfit(axis, low, high, voxel), location=location, key=key)
    return count


def whole_voxels(low: float, high: float, voxel: float) -> int | None:
    """The voxels between two bounds (all in metres), None where that is no whole number of them."""
    quotient = (high - low) / voxel if voxel else math.inf
    count = round(quotient) if math.isfinite(quotient) else 0
    fits = 1 <= count < MAX_VOXELS and abs(quotient - count) <= TOLERANCE_VOXELS
    return count if fits else None


def misfit(axis: int, low: float, high: float, voxel: float) -> str:
    """What is wrong where `whole_voxels` is None, with lengths that would do."""
    length = high - low
    quotient = length / voxel if voxel else math.inf
    found = f"{AXES[axis]}: {length:g} m / {voxel:g} m = {quotient:g} voxels"
    if not 1 <= quotient < MAX_VOXELS:
        return f"{found}: expected at least 1 and fewer than 2^20"
    below, above = math.floor(quotient), math.ceil(quotient)
    return (
        f"{found}, not a whole number: expected a range that ends at {low + below * voxel:g} "
        f"({below} voxels) or {low + above * voxel:g} ({above}), or a voxel of "
        f"{length / below:g} or {length / above:g} m"
    )
