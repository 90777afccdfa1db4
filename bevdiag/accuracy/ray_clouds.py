"""The clouds that the rows of the older stacks and of the loops were measured with.

Another sensor than `bevdiag.scenes.synthetic`'s: each ray has its own random azimuth. The numbers
are drawn in a fixed order, so that the same seed gives the measured points.
"""

import numpy as np

from bevdiag.accuracy.clouds import CloudOrder
from bevdiag.scenes.layout import Points, Range

NUM_POSTS = 40
RAYS_PER_POINT = 6
"""So many rays are cast for each point that is wanted: most miss the range."""


def ray_clouds(order: CloudOrder) -> None:
    """Write seed i's cloud for sample i."""
    for sample in range(order.row.batch_size):
        cloud = _cloud(
            order.point_cloud_range, order.row.points_per_sample, sample, order.num_features
        )
        np.save(order.file(sample), cloud)


def _cloud(bounds: Range, num_points: int, seed: int, num_features: int) -> Points:
    """64 beams over flat ground with posts: float32 [<= num_points, num_features], in metres."""
    rng = np.random.default_rng(seed)
    exact = np.array(bounds, np.float32)
    x_min, y_min, z_min, x_max, y_max, _ = exact
    reach = max(abs(x_min), abs(x_max), abs(y_min), abs(y_max))
    height = -1.8 if z_min < -1.5 else z_min + 0.2
    posts = np.c_[rng.uniform(x_min, x_max, NUM_POSTS), rng.uniform(y_min, y_max, NUM_POSTS)]
    radii = rng.uniform(0.6, 2.5, NUM_POSTS)
    num_rays = RAYS_PER_POINT * num_points
    azimuth = rng.uniform(-np.pi, np.pi, num_rays)
    beams = rng.choice(np.linspace(-24, 4, 64), num_rays)
    elevation = np.deg2rad(beams + rng.normal(0, 0.02, num_rays))
    falls = elevation < -1e-3
    ground = height / np.tan(np.minimum(elevation, -1e-3))
    distance = np.abs(np.where(falls, ground, reach * 2))
    distance = np.minimum(distance, rng.uniform(0.6, 1, num_rays) * reach)
    ray = np.c_[np.cos(azimuth), np.sin(azimuth)]
    for centre, radius in zip(posts, radii, strict=True):
        along = ray @ centre
        inside = along * along - (centre @ centre - radius * radius)
        nearest = along - np.sqrt(np.maximum(inside, 0))
        is_hit = (inside > 0) & (along > 0) & (nearest > 0.5)
        distance = np.where(is_hit, np.minimum(distance, nearest), distance)
    distance = distance + rng.normal(0, 0.02, num_rays)
    points = np.c_[ray * distance[:, None], distance * np.tan(elevation)]
    is_kept = np.all((points >= exact[:3]) & (points < exact[3:]), 1)
    points = points[is_kept][:num_points]
    features = rng.random((len(points), num_features - 3))
    cloud: Points = np.c_[points, features].astype(np.float32)
    return cloud
