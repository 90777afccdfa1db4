"""Which made-up scene fits a config when the user gives no point file."""

from enum import Enum

from bevdiag.scenes.arrays import Points, Range
from bevdiag.scenes.size import check_batch
from bevdiag.scenes.synthetic import synthetic_lidar, synthetic_sonar


class SceneKind(str, Enum):
    """The sensors whose scenes can be made up."""

    SONAR = "sonar"
    LIDAR = "lidar"


SONAR_POINTS = 40_000
"""Nearly every echo falls into a voxel of its own, so this fills the 40,000 voxels a sample that a
sonar detector's config allows: the most that such a model sees."""

FRONT_LIDAR_POINTS = 20_000
"""KITTI: of the 120,000 returns of a 64-beam revolution only those in the front camera's view are
kept (FOV_POINTS_ONLY)."""

SURROUND_LIDAR_POINTS = 160_000
"""Waymo: 64 beams x 2,650 columns are 169,600 rays, nearly all of which return."""


def fitting_kind(point_cloud_range: Range, dataset: str) -> SceneKind:
    """Sonar when the dataset's name says so or the volume is about as high as it is wide.

    Driving scenes are flat: their height is under a tenth of their width.
    """
    x_min, y_min, z_min, x_max, y_max, z_max = point_cloud_range
    height, width = z_max - z_min, min(x_max - x_min, y_max - y_min)
    if "sonar" in dataset.lower() or height >= 0.5 * width:
        return SceneKind.SONAR
    return SceneKind.LIDAR


def default_num_points(kind: SceneKind, point_cloud_range: Range) -> int:
    """Points a sample of this kind usually has inside the range."""
    if kind is SceneKind.SONAR:
        return SONAR_POINTS
    looks_forward_only = point_cloud_range[0] >= 0.0
    return FRONT_LIDAR_POINTS if looks_forward_only else SURROUND_LIDAR_POINTS


def default_samples(
    point_cloud_range: Range,
    num_features: int,
    batch_size: int,
    *,
    dataset: str = "",
    seed: int = 0,
) -> tuple[tuple[Points, ...], str]:
    """One made-up cloud a sample (sample i uses seed + i), and a phrase that names the source.

    Raises:
        InputError: they would be too large.
    """
    kind = fitting_kind(point_cloud_range, dataset)
    make = synthetic_sonar if kind is SceneKind.SONAR else synthetic_lidar
    num_points = default_num_points(kind, point_cloud_range)
    check_batch(batch_size * num_points, num_features)
    samples = tuple(
        make(num_points, point_cloud_range, num_features, seed + i) for i in range(batch_size)
    )
    return samples, f"synthetic {kind.value}, seed {seed}"
