"""Synthetic scenes with the statistics of a real sensor; the same seed gives the same scene."""

import numpy as np
from numpy.typing import NDArray

from bevdiag.errors import InputError
from bevdiag.scenes.point_layout import Points, Range, within

NUM_BEAMS = 64
NUM_COLUMNS = 2650
"""Firings in one revolution; with 64 beams, those of the Waymo top lidar's range image."""

_BEAM_ELEVATION_DEG = (-24.0, 4.0)
_MOUNT_HEIGHT = 1.8
_NUM_OBSTACLES = 40
_OBSTACLE_RADIUS = (0.6, 2.5)
_RANGE_NOISE = 0.02
_MAX_REVOLUTIONS = 64
_NUM_BLOBS = 60
_ROOM_SIZE = (8.0, 8.0, 3.0)
_FURNITURE = 15
_FURNITURE_SIZE = (0.3, 2.0)
_ROOM_SHARES = (0.25, 0.45)
"""Of the points, on the floor and on the walls; the others are on furniture. All chosen."""
_BLOB_SIGMA_SHARE = 0.01


def synthetic_sonar(
    num_points: int, point_cloud_range: Range, num_features: int, seed: int
) -> Points:
    """Echoes in a water volume: half in blobs, half spread evenly.

    The blobs (shoals, structures) have a standard deviation of 1 % of the volume's longest edge.

    Returns:
        float32 [<= num_points, num_features]: x, y, z, then intensities in [0, 1); blob points
        that fall outside the range are dropped.
    """
    rng = np.random.default_rng(seed)
    low, high = np.split(np.asarray(point_cloud_range, np.float64), 2)
    centres = rng.uniform(low, high, (_NUM_BLOBS, 3))
    sigma = _BLOB_SIGMA_SHARE * float((high - low).max())
    num_clustered = num_points // 2
    blob = rng.integers(0, _NUM_BLOBS, num_clustered)
    clustered = centres[blob] + rng.normal(0.0, sigma, (num_clustered, 3))
    spread = rng.uniform(low, high, (num_points - num_clustered, 3))
    return _finish(np.concatenate((clustered, spread)), point_cloud_range, num_features, rng)


def synthetic_room(
    num_points: int, point_cloud_range: Range, num_features: int, seed: int
) -> Points:
    """Floor, four walls and upright boxes of furniture, evenly covered with points.

    The room is as large as the range, at most 8 x 8 x 3 m about the middle of its floor.

    Returns:
        float32 [<= num_points, num_features]: x, y, z, then features in [0, 1).
    """
    rng = np.random.default_rng(seed)
    low, high = np.split(np.asarray(point_cloud_range, np.float64), 2)
    size = np.minimum(high - low, _ROOM_SIZE)
    corner = np.append((low + high)[:2] / 2 - size[:2] / 2, low[2])
    spread = rng.uniform(size=(num_points, 3))
    floor, walls = (round(share * num_points) for share in _ROOM_SHARES)
    spread[:floor, 2] = 0
    _onto_a_side(spread[floor : floor + walls], rng)
    things = spread[floor + walls :]
    _onto_a_side(things, rng)
    extent = np.minimum(rng.uniform(*_FURNITURE_SIZE, (_FURNITURE, 3)), size) / size
    place = rng.uniform(size=(_FURNITURE, 3)) * (1 - extent) * (1, 1, 0)
    which = rng.integers(0, _FURNITURE, len(things))
    things[...] = place[which] + things * extent[which]
    # What lies on the upper edge of the range would be outside of it.
    xyz = corner + rng.permutation(spread) * size * (1 - 1e-4)
    return _finish(xyz, point_cloud_range, num_features, rng)


def _onto_a_side(points: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Move points [N, 3] of a unit cube onto one of its four upright sides each."""
    rows, axis = np.arange(len(points)), rng.integers(0, 2, len(points))
    points[rows, axis] = rng.integers(0, 2, len(points))


def synthetic_lidar(
    num_points: int, point_cloud_range: Range, num_features: int, seed: int
) -> Points:
    """Scan flat ground among round obstacles with a spinning 64-beam sensor.

    Each revolution fires every beam at every azimuth column in a random order; what returns from
    inside the range counts, until `num_points` have returned. A beam ends at the ground, at the
    nearest obstacle, or in the scattered background that begins at 60 % of the range's reach.

    Returns:
        float32 [<= num_points, num_features]: x, y, z, then intensities in [0, 1). Fewer points
        than asked for when the range sees too little of the ground.

    Raises:
        InputError: no ray ends inside the range.
    """
    rng = np.random.default_rng(seed)
    low, high = np.split(np.asarray(point_cloud_range, np.float64), 2)
    sensor, reach = _sensor(low, high)
    posts = rng.uniform(low[:2], high[:2], (_NUM_OBSTACLES, 2)) - sensor[:2]
    radii = rng.uniform(*_OBSTACLE_RADIUS, _NUM_OBSTACLES)
    collected: list[NDArray[np.float64]] = []
    missing = num_points
    for _ in range(_MAX_REVOLUTIONS):
        returns = sensor + _revolution(posts, radii, reach, rng)
        # Rounded before the test: a float64 just inside the range may be on its edge in float32.
        returns = returns[within(returns.astype(np.float32), point_cloud_range)][:missing]
        collected.append(returns)
        missing -= len(returns)
        if missing <= 0 or not len(returns):
            break
    xyz = np.concatenate(collected)
    if not len(xyz):
        raise InputError(
            f"a synthetic lidar sees nothing inside the range {list(point_cloud_range)}: "
            "give point files instead"
        )
    return _finish(xyz, point_cloud_range, num_features, rng)


def _sensor(
    low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    # Datasets put the lidar at the origin of its own frame, or in a frame on the ground.
    x, y = np.clip(0.0, low[:2], high[:2])
    ground = float(np.clip(-_MOUNT_HEIGHT, low[2] + 0.05 * (high[2] - low[2]), high[2]))
    reach = float(np.abs(np.concatenate((low[:2], high[:2])) - np.tile((x, y), 2)).max())
    return np.array((x, y, ground + _MOUNT_HEIGHT)), reach


def _revolution(
    posts: NDArray[np.float64],
    radii: NDArray[np.float64],
    reach: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """End points of one revolution's rays relative to the sensor: [NUM_BEAMS * NUM_COLUMNS, 3]."""
    turn = 2.0 * np.pi / NUM_COLUMNS
    azimuths = -np.pi + turn * (np.arange(NUM_COLUMNS) + rng.random())
    obstacle = _nearest_obstacle(azimuths, posts, radii)
    ray = rng.permutation(NUM_BEAMS * NUM_COLUMNS)
    column, beam = np.divmod(ray, NUM_BEAMS)
    beams = np.deg2rad(np.linspace(*_BEAM_ELEVATION_DEG, NUM_BEAMS))
    slope = np.tan(beams + np.deg2rad(rng.normal(0.0, _RANGE_NOISE, NUM_BEAMS)))[beam]
    with np.errstate(divide="ignore"):
        to_ground = np.where(slope < 0.0, -_MOUNT_HEIGHT / slope, np.inf)
    background = rng.uniform(0.6, 1.0, len(ray)) * reach
    distance = np.minimum(np.minimum(to_ground, background), obstacle[column])
    distance += rng.normal(0.0, _RANGE_NOISE, len(ray))
    azimuth = azimuths[column]
    return np.stack(
        (distance * np.cos(azimuth), distance * np.sin(azimuth), distance * slope), axis=1
    )


def _nearest_obstacle(
    azimuths: NDArray[np.float64], posts: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance to the nearest upright cylinder along each azimuth, inf where there is none."""
    direction = np.stack((np.cos(azimuths), np.sin(azimuths)))
    along = posts @ direction
    aside_squared = (posts**2).sum(axis=1, keepdims=True) - along**2
    depth_squared = radii[:, None] ** 2 - aside_squared
    entry = along - np.sqrt(np.maximum(depth_squared, 0.0))
    hit = (depth_squared > 0.0) & (entry > 0.0)
    nearest: NDArray[np.float64] = np.where(hit, entry, np.inf).min(axis=0)
    return nearest


def _finish(
    xyz: NDArray[np.float64],
    point_cloud_range: Range,
    num_features: int,
    rng: np.random.Generator,
) -> Points:
    rounded = xyz.astype(np.float32)
    inside = rounded[within(rounded, point_cloud_range)]
    features = rng.random((len(inside), num_features - 3), dtype=np.float32)
    return np.concatenate((inside, features), axis=1)
