"""A street with surfaces: what a data set's sensors see of ground, objects and walls.

On it stand the objects that gt_sampling pastes into a frame: boxes with points on the sides seen.

The constants are not measured. They are chosen, within what a street may look like, to bring the
number of occupied cells at each stride near that of a few real frames.
"""

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError
from bevdiag.scenes.datasets import DataSet, Lidar, even
from bevdiag.scenes.point_layout import Points, Range, within
from bevdiag.scenes.scenario import STREETS, Scenario

_LAYERS = (((3.0, 40.0), (0.4, 2.5), 0.5), ((6.0, 75.0), (2.0, 15.0), 0.9))
"""Objects in front of buildings: distance and height in metres (log-uniform, one value a sector)
and the share of sectors that hold one."""
_SECTOR_DEG = (0.6, 6.0)
_NOISE = 0.02
_SWELL_M = (0.1, 20.0)
"""Height and length in metres of waves that stand for a road's crown, kerbs and slopes; chosen."""

Floats = NDArray[np.float64]


def street(
    data_set: DataSet,
    sweeps: int,
    point_cloud_range: Range,
    num_features: int,
    seed: int,
    scenario: Scenario = Scenario.EXPECTED,
    classes: tuple[str, ...] = (),
) -> Points:
    """One frame of `sweeps` revolutions in random order, as a shuffling loader hands it on.

    On it stand the objects of these `classes` that gt_sampling pastes, seen by every sweep; the
    sparse frame has none, as in training's last epochs. The surfaces stay where they are from sweep
    to sweep; the rings on the ground move with the vehicle.

    Returns:
        float32 [N, num_features]: x, y, z, then features in [0, 1).

    Raises:
        InputError: nothing of it lies inside the range.
    """
    rng = np.random.default_rng(seed)
    layers = [_layer(rng, *layer) for layer in _LAYERS]
    shown = STREETS[scenario]
    leaves = _leaves(rng, min(1.0, shown.scattered * data_set.scattered), shown.leaf_deg)
    clouds = []
    for sweep in range(sweeps):
        moved = np.array((-shown.speed / data_set.rate * sweep, 0.0, data_set.ground))
        if data_set.radar_points:
            beams = even(-15.0, 5.0, 16)
            radar = Lidar(elevations=beams, columns=720, height=1.0, reach=60.0)
            seen = _revolution(radar, layers, leaves, rng)
            angles = np.abs(np.rad2deg(np.arctan2(seen[:, 1], seen[:, 0])))
            seen = rng.permutation(seen[angles <= data_set.view / 2])
            seen = seen[: round(shown.returns * data_set.radar_points)]
            clouds.append(seen + moved)
        else:
            clouds += [_revolution(lidar, layers, leaves, rng) + moved for lidar in data_set.lidars]
    if scenario is not Scenario.LOW:
        objects = np.random.default_rng((seed, 1))
        clouds.append(np.tile(pasted(classes, data_set, point_cloud_range, objects), (sweeps, 1)))
    xyz = np.concatenate(clouds).astype(np.float32)
    inside = within(xyz, point_cloud_range)
    inside &= np.abs(np.rad2deg(np.arctan2(xyz[:, 1], xyz[:, 0]))) <= data_set.view / 2
    xyz = rng.permutation(xyz[inside])
    if not len(xyz):
        raise InputError(
            f"a synthetic {data_set.name} frame has no point inside the range "
            f"{list(point_cloud_range)}: give point files instead"
        )
    features = rng.random((len(xyz), num_features - 3), dtype=np.float32)
    return np.concatenate((xyz, features), axis=1)


def _layer(
    rng: np.random.Generator,
    distances: tuple[float, float],
    heights: tuple[float, float],
    share: float,
) -> tuple[Floats, Floats, Floats]:
    """Edges of the sectors in [0, 360), and the distance and height of what stands in each."""
    edges = np.cumsum(rng.uniform(*_SECTOR_DEG, int(360 / _SECTOR_DEG[0])))
    edges = edges[edges < 360.0]
    distance = np.exp(rng.uniform(np.log(distances[0]), np.log(distances[1]), len(edges) + 1))
    height = np.exp(rng.uniform(np.log(heights[0]), np.log(heights[1]), len(edges) + 1))
    return edges, np.where(rng.random(len(distance)) < share, distance, np.inf), height


def _leaves(rng: np.random.Generator, scattered: float, leaf_deg: float) -> Floats:
    """How much farther than the surface a ray ends, by azimuth and elevation: [A, E] factors.

    They stay where they are in all revolutions.
    """
    shape = (round(360.0 / leaf_deg), round(180.0 / leaf_deg))
    return np.where(rng.random(shape) < scattered, rng.uniform(0.6, 1.3, shape), 1.0)


def _revolution(
    lidar: Lidar,
    layers: list[tuple[Floats, Floats, Floats]],
    leaves: Floats,
    rng: np.random.Generator,
) -> Floats:
    """Make one revolution [N, 3], relative to the ground under the sensor."""
    turn = 360.0 / lidar.columns
    beams = len(lidar.elevations)
    azimuth = np.repeat(turn * (np.arange(lidar.columns) + rng.random()), beams)
    slope = np.tan(np.deg2rad(lidar.elevations))
    slope = np.tile(slope, lidar.columns)
    with np.errstate(divide="ignore"):
        distance = np.where(slope < 0.0, -lidar.height / slope, np.inf)
    on_ground = np.ones(len(azimuth), bool)
    for edges, distances, heights in layers:
        sector = np.searchsorted(edges, azimuth % 360.0)
        wall = distances[sector]
        hit = np.isfinite(wall) & (wall < distance)
        hit[hit] = lidar.height + slope[hit] * wall[hit] <= heights[sector][hit]
        distance = np.where(hit, wall, distance)
        on_ground &= ~hit
    elevation = np.rad2deg(np.arctan(slope)) + 90.0
    across, up = np.array((360.0, 180.0)) / leaves.shape
    at = (azimuth % 360.0 // across).astype(int), (elevation // up).astype(int)
    distance = np.where(on_ground, distance, distance * leaves[at])
    kept = (distance * np.hypot(1.0, slope) < lidar.reach) & (
        rng.random(len(distance)) < lidar.returned
    )
    distance, slope, azimuth, on_ground = (a[kept] for a in (distance, slope, azimuth, on_ground))
    distance = distance + rng.normal(0.0, _NOISE, len(distance))
    z = lidar.height + distance * slope
    angle = np.deg2rad(azimuth)
    x, y = distance * np.cos(angle), distance * np.sin(angle)
    swell, length = _SWELL_M
    waves = np.sin(2 * np.pi * x / length) * np.cos(2 * np.pi * y / length)
    return np.stack((x, y, z + swell * waves * on_ground), axis=1)


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
