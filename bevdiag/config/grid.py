"""The voxel grid of a point cloud range: as many voxels as OpenPCDet rounds it to."""

import math
import struct
from collections.abc import Sequence

AXES = ("x", "y", "z")
MAX_CELLS = 2**48
"""Of a grid: an int64 numbers the cells of a whole batch, and of margins around them."""
MAX_VOXELS = 2**20
"""Along an axis: 52 km of 5 cm each; every position has its entries in tables of neighbours."""
TOLERANCE_VOXELS = 1e-3
"""Decimals such as 70.4 / 0.05 miss a whole number by the rounding of float32, never by more."""


def grid_of(point_range: Sequence[float], voxel_size: Sequence[float]) -> tuple[int, int, int]:
    """Return the grid (x, y, z) in voxels, rounded as OpenPCDet does where it is not whole.

    Args:
        point_range: x, y, z minimum, then x, y, z maximum, in metres.
        voxel_size: x, y, z, in metres.

    Raises:
        ValueError: an axis has no voxel, or the grid has too many; the message is for the user.
    """
    counts = []
    for axis, voxel in enumerate(voxel_size):
        low, high = point_range[axis], point_range[axis + 3]
        count = rounded_voxels(low, high, voxel)
        if count is None:
            raise ValueError(misfit(axis, low, high, voxel))
        counts.append(count)
    x, y, z = counts
    if x * y * z >= MAX_CELLS:
        raise ValueError(f"{x} x {y} x {z} voxels: expected a grid of fewer than 2^48")
    return x, y, z


def rounded_voxels(low: float, high: float, voxel: float) -> int | None:
    """Return the voxels that a grid between two bounds (all in metres) gets; None where it is none.

    OpenPCDet takes the length in float32 and rounds with np.round, to the even neighbour as Python
    does.
    """
    length = _float32(_float32(high) - _float32(low))
    quotient = length / voxel if voxel else math.inf
    count = round(quotient) if math.isfinite(quotient) else 0
    return count if 1 <= count < MAX_VOXELS else None


def whole_voxels(low: float, high: float, voxel: float) -> int | None:
    """Return the voxels between two bounds (all in metres), None where they are not whole."""
    count = rounded_voxels(low, high, voxel)
    if count is None or abs((high - low) / voxel - count) > TOLERANCE_VOXELS:
        return None
    return count


def misfit(axis: int, low: float, high: float, voxel: float) -> str:
    """Say what is odd where `whole_voxels` is None, with lengths that would do."""
    length = high - low
    quotient = length / voxel if voxel else math.inf
    found = f"{AXES[axis]}: {length:g} m / {voxel:g} m = {quotient:g} voxels"
    count = rounded_voxels(low, high, voxel)
    if count is None:
        return f"{found}: expected at least 1 and fewer than 2^20"
    below, above = max(1, math.floor(quotient)), math.ceil(quotient)
    return (
        f"{found}, not a whole number: the grid gets {count}; expected a range that "
        f"ends at {low + below * voxel:g} ({below} voxels) or {low + above * voxel:g} ({above}), "
        f"or a voxel of {length / below:g} or {length / above:g} m"
    )


def _float32(value: float) -> float:
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)
