"""A street with surfaces: what a data set's sensors see of ground, objects and walls.

The constants are not measured. They are chosen, within what a street may look like, to bring the
number of occupied cells at each stride near that of a few real frames.
"""

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError
from bevdiag.scenes.datasets import DataSet, Lidar, even
from bevdiag.scenes.layout import Points, Range, within
from bevdiag.scenes.pasted import pasted
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
