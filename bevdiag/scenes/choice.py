"""Which synthetic scene fits a config when the user gives no point file."""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.scenes.arrays import Points, Range
from bevdiag.scenes.datasets import matching
from bevdiag.scenes.files import read_samples
from bevdiag.scenes.layout import Layout
from bevdiag.scenes.size import check_batch
from bevdiag.scenes.street import street
from bevdiag.scenes.synthetic import synthetic_sonar


class SceneKind(str, Enum):
    """The kinds of sensors that have synthetic scenes."""

    SONAR = "sonar"
    LIDAR = "lidar"


SONAR_POINTS = 40_000
"""Nearly every echo falls into a voxel of its own, so this fills the 40,000 voxels a sample that a
sonar detector's config allows: the most that such a model sees."""


def fitting_kind(point_cloud_range: Range, dataset: str) -> SceneKind:
    """Sonar when the dataset's name says so or the volume is about as high as it is wide.

    Driving scenes are flat: their height is under a tenth of their width.
    """
    x_min, y_min, z_min, x_max, y_max, z_max = point_cloud_range
    height, width = z_max - z_min, min(x_max - x_min, y_max - y_min)
    if "sonar" in dataset.lower() or height >= 0.5 * width:
        return SceneKind.SONAR
    return SceneKind.LIDAR


def chosen_samples(
    files: Sequence[str],
    layout: Layout,
    batch_size: int,
    *,
    dataset: str,
    frames: int,
    seed: int,
) -> tuple[tuple[Points, ...], str]:
    """The user's files or, without any, a synthetic scene; and a phrase that names the source.

    Raises:
        InputError: a file cannot be used, an option has none to bear on, or the batch would be
            too large.
    """
    if files:
        return read_samples([Path(name) for name in files], layout, batch_size, seed=seed)
    if layout.columns or layout.dtype:
        option = "--point-columns" if layout.columns else "--point-dtype"
        raise InputError(f"{option}: says how a .bin file is read: give one with --points")
    return default_samples(
        layout.point_cloud_range,
        layout.features,
        batch_size,
        dataset=dataset,
        frames=frames,
        seed=seed,
    )


def default_samples(
    point_cloud_range: Range,
    features: Sequence[str],
    batch_size: int,
    *,
    dataset: str = "",
    frames: int = 1,
    seed: int = 0,
) -> tuple[tuple[Points, ...], str]:
    """One synthetic cloud a sample (sample i uses seed + i), and a phrase that names the source.

    Args:
        point_cloud_range: of the config, in metres.
        features: names of a point's values, x, y, z first.
        batch_size: samples.
        dataset: its name in the config, which chooses the sensor (see `datasets.matching`).
        frames: sweeps or frames that one sample merges.
        seed: of the first sample.

    Raises:
        InputError: they would be too large, or the range holds none of the scene.
    """
    seeds = range(seed, seed + batch_size)
    if fitting_kind(point_cloud_range, dataset) is SceneKind.SONAR:
        check_batch(batch_size * SONAR_POINTS, len(features))
        sonar = (synthetic_sonar(SONAR_POINTS, point_cloud_range, len(features), i) for i in seeds)
        return tuple(sonar), f"synthetic sonar, seed {seed}"
    data_set = matching(dataset, features, point_cloud_range)
    check_batch(batch_size * frames * data_set.rays, len(features))
    clouds = (street(data_set, frames, point_cloud_range, len(features), i) for i in seeds)
    merged = f" of {frames} frames" if frames > 1 else ""
    return tuple(clouds), f"synthetic {data_set.name} scene{merged}, seed {seed}"
