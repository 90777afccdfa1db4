"""The clouds of a batch: the user's files or, without any, a synthetic scene that fits the config.

Which clouds training will meet is not known, so a synthetic scene is one of three frames: a sparse,
a common and a dense one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from bevdiag.errors import InputError
from bevdiag.scenes.datasets import DataSet, matching
from bevdiag.scenes.files import read_samples
from bevdiag.scenes.point_layout import PointLayout, Points, Range, check_batch
from bevdiag.scenes.scenario import Scenario
from bevdiag.scenes.statistics import CellGrid, SceneStatistics, matched, read_statistics
from bevdiag.scenes.street import street
from bevdiag.scenes.synthetic import synthetic_room, synthetic_sonar


class SceneKind(str, Enum):
    """The kinds of sensors that have synthetic scenes."""

    SONAR = "sonar"
    LIDAR = "lidar"
    ROOM = "room"


ROOM_POINTS = {Scenario.LOW: 50_000, Scenario.EXPECTED: 100_000, Scenario.HIGH: 200_000}
"""Of a room or a part of one, as indoor data sets keep them; chosen. Most models sample fewer."""
ROOM_RANGE = (-4.0, -4.0, 0.0, 4.0, 4.0, 3.0)
"""A room of usual size, in metres: what an indoor detector sees whose config limits nothing."""
_INDOOR = ("scannet", "sunrgbd", "s3dis")
SONAR_POINTS = {Scenario.LOW: 20_000, Scenario.EXPECTED: 40_000}
"""Of a ping. Nearly every echo falls into a voxel of its own, so the larger number fills the 40,000
voxels a sample that a sonar detector's config allows: the most that such a model sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the clouds of a batch are to be.

    Attributes:
        layout: what the config and the options say of a point, and of files.
        batch_size: samples.
        files: the user's; none for a synthetic scene.
        scene: a file of statistics that a synthetic scene is to have (`bevdiag scene measure`).
        dataset: its name in the config, which chooses the sensor (see `datasets.matching`).
        frames: sweeps or frames that one sample merges.
        pasted: the classes of the objects that gt_sampling pastes into a frame.
        seed: of the first sample; sample i uses seed + i.
    """

    layout: PointLayout
    batch_size: int
    files: tuple[str, ...] = ()
    scene: str | None = None
    dataset: str = ""
    frames: int = 1
    pasted: tuple[str, ...] = ()
    seed: int = 0

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """Those that have a cloud of their own; in the others it is the expected one."""
        if self.files:
            return (Scenario.EXPECTED,)
        if self.scene is not None:
            return tuple(Scenario)
        return tuple(self._points or Scenario)

    def samples(self, scenario: Scenario) -> tuple[tuple[Points, ...], str]:
        """One cloud a sample, and a phrase that names the source.

        Raises:
            InputError: a file cannot be used, an option has none to bear on, the range holds none
                of a synthetic scene, or the batch would be too large.
        """
        if self.files:
            paths = [Path(name) for name in self.files]
            return read_samples(paths, self.layout, self.batch_size, seed=self.seed)
        if self.layout.columns or self.layout.dtype:
            option = "--point-columns" if self.layout.columns else "--point-dtype"
            raise InputError(f"{option}: says how a .bin file is read: give one with --points")
        self._check_size()
        seeds = range(self.seed, self.seed + self.batch_size)
        if self.scene is None:
            bounds = self.layout.point_cloud_range
            return tuple(self._cloud(scenario, bounds, i) for i in seeds), self._source()
        statistics = read_statistics(Path(self.scene))
        source = (
            f"synthetic scene with the counts of {Path(self.scene).name} ({statistics.frames} "
            f"frames), {self._source()}"
        )
        return tuple(self._matched(statistics, scenario, i) for i in seeds), source

    @property
    def _kind(self) -> SceneKind:
        return fitting_kind(self.layout.point_cloud_range, self.dataset)

    @property
    def _points(self) -> Mapping[Scenario, int] | None:
        """Points of a sample by scenario, where the kind of scene fixes them."""
        return {SceneKind.SONAR: SONAR_POINTS, SceneKind.ROOM: ROOM_POINTS}.get(self._kind)

    @property
    def _match(self) -> tuple[DataSet, str]:
        layout = self.layout
        return matching(self.dataset, layout.features, layout.point_cloud_range)

    def _check_size(self) -> None:
        fixed = self._points
        most = max(fixed.values()) if fixed else self.frames * self._match[0].rays
        check_batch(self.batch_size * most, len(self.layout.features))

    def _cloud(self, scenario: Scenario, bounds: Range, seed: int) -> Points:
        values = len(self.layout.features)
        if self._points is not None:
            num_points = self._points.get(scenario, self._points[Scenario.EXPECTED])
            make = synthetic_room if self._kind is SceneKind.ROOM else synthetic_sonar
            return make(num_points, bounds, values, seed)
        # Frames that were measured are taken as training voxelizes them.
        classes = self.pasted if self.scene is None else ()
        return street(self._match[0], self.frames, bounds, values, seed, scenario, classes)

    def _matched(self, statistics: SceneStatistics, scenario: Scenario, seed: int) -> Points:
        """Make a cloud with the counts of the statistics; the config's range sees a part of it."""
        grid, seen_range = statistics.grid, self.layout.point_cloud_range

        def numbered(number: int) -> Points:
            # Far from the seeds of the other samples.
            return self._cloud(scenario, grid.point_cloud_range, seed + (number << 32))

        points = matched(numbered, statistics, scenario, seed)
        own = CellGrid(point_cloud_range=seen_range, voxel_size=grid.voxel_size)
        seen: Points = np.ascontiguousarray(points[own.inside(points)])
        if not len(seen):
            raise InputError(
                f"--scene {self.scene}: none of its points lies inside the config's range "
                f"{list(seen_range)}: measure with --config"
            )
        return seen

    def _source(self) -> str:
        if self._points is not None:
            return f"synthetic {self._kind.value}, seed {self.seed}"
        merged = f" of {self.frames} frames" if self.frames > 1 else ""
        data_set, spoke = self._match
        unknown = self.dataset or "a data set without a name"
        taken = "" if spoke == "name" else f" ({unknown}, taken for it by its {spoke})"
        return f"synthetic {data_set.name} scene{merged}{taken}, seed {self.seed}"


def fitting_kind(point_cloud_range: Range, dataset: str) -> SceneKind:
    """Tell a room and sonar by the name of the data set, sonar by its height as well.

    Driving scenes are flat: their height is under a tenth of their width.
    """
    if any(name in dataset.lower() for name in _INDOOR):
        return SceneKind.ROOM
    x_min, y_min, z_min, x_max, y_max, z_max = point_cloud_range
    height, width = z_max - z_min, min(x_max - x_min, y_max - y_min)
    if "sonar" in dataset.lower() or height >= 0.5 * width:
        return SceneKind.SONAR
    return SceneKind.LIDAR
