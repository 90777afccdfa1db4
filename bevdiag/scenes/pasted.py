"""The objects that gt_sampling pastes into a frame: boxes with points on the sides seen."""

import numpy as np
from numpy.typing import NDArray

from bevdiag.scenes.datasets import DataSet, Lidar
from bevdiag.scenes.layout import Points, Range, within

_SIZES = {"ped": (0.7, 0.7, 1.7), "cycl": (1.8, 0.6, 1.7), "": (4.2, 1.8, 1.6)}
"""Length, width and height in metres by what the class's name contains; a car's for any other."""
_NEAREST = 5.0
_FARTHEST = 60.0
_TRIES = 20
_FEWEST = 5
"""Points of an object that OpenPCDet's configs still paste (filter_by_min_points)."""


def pasted(
    classes: tuple[str, ...], data_set: DataSet, bounds: Range, rng: np.random.Generator
) -> Points:
    """Points on objects at random places of the ground, one object for each of the classes.

    An object has as many points as its lidar has rays in the solid angle that it fills. One that
    would touch another is left out, as OpenPCDet does.

    Returns:
        float32 [N, 3], inside the range and the field of view.
    """
    placed: list[tuple[float, float, float]] = []
    points = [np.zeros((0, 3), np.float32)]
    for name in classes if data_set.lidars else ():
        size = next(size for part, size in _SIZES.items() if part in name.lower())
        x, y = _place(data_set, bounds, rng)
        reach = np.hypot(size[0], size[1]) / 2
        if all(np.hypot(x - a, y - b) > reach + other for a, b, other in placed):
            placed.append((x, y, reach))
            points.append(_object(np.array((x, y)), size, data_set, bounds, rng))
    return np.concatenate(points)


def _place(data_set: DataSet, bounds: Range, rng: np.random.Generator) -> tuple[float, float]:
    """Where an object stands: inside the range and the field of view."""
    for _ in range(_TRIES):
        distance = rng.uniform(_NEAREST, _FARTHEST)
        bearing = np.deg2rad(rng.uniform(-data_set.view / 2, data_set.view / 2))
        x, y = float(distance * np.cos(bearing)), float(distance * np.sin(bearing))
        if bounds[0] <= x < bounds[3] and bounds[1] <= y < bounds[4]:
            break
    return x, y


def _object(
    centre: NDArray[np.float64],
    size: tuple[float, float, float],
    data_set: DataSet,
    bounds: Range,
    rng: np.random.Generator,
) -> Points:
    """Points on the two sides that are seen; none where they are too few to be pasted."""
    lidar = data_set.lidars[0]
    length, width, height = size
    distance, bearing = float(np.hypot(*centre)), np.arctan2(centre[1], centre[0])
    heading = rng.uniform(0.0, 2 * np.pi)
    wide = abs(length * np.sin(heading - bearing)) + abs(width * np.cos(heading - bearing))
    count = round(_rays(lidar, distance, wide, height))
    if count < _FEWEST:
        return np.zeros((0, 3), np.float32)
    across = rng.uniform(-0.5, 0.5, (count, 2)) * (length, width)
    # Of the four sides two are seen, the nearer end of each axis.
    turn = np.array(((np.cos(heading), -np.sin(heading)), (np.sin(heading), np.cos(heading))))
    towards = -np.sign(centre @ turn) * (length / 2, width / 2)
    on_end = rng.random(count) < width / (length + width)
    across[on_end, 0], across[~on_end, 1] = towards[0], towards[1]
    z = data_set.ground + rng.uniform(0.0, height, count)
    xyz = np.column_stack((across @ turn.T + centre, z))
    return xyz[within(xyz, bounds)].astype(np.float32)


def _rays(lidar: Lidar, distance: float, wide: float, height: float) -> float:
    """Rays that meet an upright face of this width and height in metres."""
    columns = wide / distance * lidar.columns / (2 * np.pi)
    slopes = np.tan(np.deg2rad(lidar.elevations)) * distance + lidar.height
    beams = np.count_nonzero((slopes >= 0.0) & (slopes <= height))
    return float(columns * beams * lidar.returned)
