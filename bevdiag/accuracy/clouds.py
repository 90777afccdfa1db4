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
from bevdiag.scenes.layout import Range

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


def made_up(order: CloudOrder) -> None:
    """Bevdiag's own synthetic lidar, seed i for sample i."""
    for sample in range(order.row.batch_size):
        points = order.row.points_per_sample
        cloud = synthetic_lidar(points, order.point_cloud_range, order.num_features, sample)
        np.save(order.file(sample), cloud)


@dataclass(frozen=True, slots=True)
class Stored:
    """The same stored cloud, array "points" of an .npz file, for every sample."""

    file: Path

    def __call__(self, order: CloudOrder) -> None:
        with np.load(self.file, allow_pickle=False) as stored:
            for sample in range(order.row.batch_size):
                np.save(order.file(sample), stored["points"])


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
