"""The point clouds that a row was measured with, written as files that `--points` could name."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bevdiag.accuracy.outcome import MeasuredRow
from bevdiag.children import ending
from bevdiag.errors import InputError
from bevdiag.files.known import note_input
from bevdiag.programs import run_program
from bevdiag.scenes import synthetic_lidar
from bevdiag.scenes.point_layout import Points, Range

SCRIPT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class CloudOrder:
    """The row whose clouds are wanted, what its config says of them, and where they go."""

    row: MeasuredRow
    folder: Path
    point_cloud_range: Range
    num_features: int

    def file(self, sample: int) -> Path:
        """Where the cloud of a sample goes."""
        return self.folder / f"{self.row.name.replace('/', '_')}{sample}.npy"

    @property
    def files(self) -> tuple[str, ...]:
        """One file a sample."""
        return tuple(str(self.file(sample)) for sample in range(self.row.batch_size))


Clouds = Callable[[CloudOrder], None]
"""Writes the files of an order; picklable, as rows are predicted in processes of their own."""


def synthetic_clouds(order: CloudOrder) -> None:
    """Bevdiag's own synthetic lidar, seed i for sample i."""
    _save(order, synthetic_lidar)


def _save(order: CloudOrder, cloud: Callable[[int, Range, int, int], Points]) -> None:
    """Write what `cloud` makes of points, range, number of features and seed, a file a sample."""
    points, bounds = order.row.points_per_sample, order.point_cloud_range
    for seed in range(order.row.batch_size):
        np.save(order.file(seed), cloud(points, bounds, order.num_features, seed))


@dataclass(frozen=True, slots=True)
class Stored:
    """The same stored cloud, array "points" of an .npz file, for every sample."""

    file: Path

    def __call__(self, order: CloudOrder) -> None:
        with np.load(self.file, allow_pickle=False) as stored:
            _save(order, lambda *_: stored["points"])


@dataclass(frozen=True, slots=True)
class Scripted:
    """What a script makes: SCRIPT KIND PREFIX [--pcr ... --features N] --points N --batch N."""

    script: Path

    def __call__(self, order: CloudOrder) -> None:
        """Run it.

        Raises:
            InputError: the script is missing or fails.
        """
        script, row = self.script, order.row
        if not script.is_file():
            raise InputError(
                f"{script}: the rows' scenes are made by this script, which is missing"
            )
        prefix = str(order.file(0)).removesuffix("0.npy")
        command = [sys.executable, str(script), row.scene, prefix]
        if row.scene == "lidar":
            command += ["--pcr", *map(str, order.point_cloud_range)]
            command += ["--features", str(order.num_features)]
        command += ["--points", str(row.points_per_sample), "--batch", str(row.batch_size)]
        note_input(script)
        done = run_program(command, SCRIPT_SECONDS)
        if done.exit_code is None:
            raise InputError(f"{script} did not end within {SCRIPT_SECONDS:g} s")
        if done.exit_code:
            last = done.err.strip().splitlines()[-1:] or [ending(done.exit_code)]
            raise InputError(f"{script} failed: {last[0]}")


NUM_POSTS = 40
RAYS_PER_POINT = 6
"""So many rays are cast for each point that is wanted: most miss the range."""


def ray_clouds(order: CloudOrder) -> None:
    """Write what the rows of the older stacks and of the loops were measured with, seed by seed.

    Another sensor than `bevdiag.scenes.synthetic`'s: each ray has its own random azimuth. The
    numbers are drawn in a fixed order, so that the same seed gives the measured points.
    """
    _save(order, _cloud)


def _cloud(num_points: int, bounds: Range, num_features: int, seed: int) -> Points:
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
