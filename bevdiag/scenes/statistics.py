"""What frames hold, counted: points, and occupied cells at the strides of a backbone.

The counts can be shared where the clouds cannot; `matched` makes a synthetic cloud of them: one
that is thinned until it holds as many points and cells. From the coarsest stride to the finest, as
many cells are kept as were measured, each with at least one finer cell of those that are kept next.
So all strides come out at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bevdiag.errors import InputError
from bevdiag.files.reading import read_json
from bevdiag.scenes.files import point_files, read_points
from bevdiag.scenes.point_layout import PointLayout, Points, within
from bevdiag.scenes.scenario import Scenario

MOST_FRAMES = 1000
"""Of one folder; enough for its percentiles."""
SCENE_SCHEMA = "scene/1"
STRIDES = (1, 2, 4, 8, 16)
_PERCENTILES = (5, 50, 95)
_MOST_BYTES = 2**20
_MOST_CELLS = 2**20
"""Along one axis: the keys of cells stay within 64 bits."""

Cells = NDArray[np.int64]
"""[N, 3]: x, y, z of each point's cell."""
_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Edge = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellGrid:
    """Where cells are counted: a config's range and voxel size, in metres."""

    point_cloud_range: tuple[_Edge, _Edge, _Edge, _Edge, _Edge, _Edge]
    voxel_size: tuple[_Length, _Length, _Length]

    def cells(self, points: Points) -> Cells:
        """Return the cells of the points, which must lie inside the range."""
        low = np.asarray(self.point_cloud_range[:3], np.float64)
        cells: Cells = np.floor((points[:, :3] - low) / self.voxel_size).astype(np.int64)
        return cells

    def inside(self, points: Points) -> NDArray[np.bool_]:
        """Whether each point lies inside the range."""
        return within(points, self.point_cloud_range)


DEFAULT_GRID = CellGrid(
    point_cloud_range=(-100.0, -100.0, -10.0, 100.0, 100.0, 10.0), voxel_size=(0.1, 0.1, 0.15)
)
"""Of a measurement without a config."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """The 5th, 50th and 95th percentile of the frames."""

    low: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    median: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    high: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    def of(self, scenario: Scenario) -> float:
        """Return the one that this scenario's scene has."""
        return {Scenario.LOW: self.low, Scenario.HIGH: self.high}.get(scenario, self.median)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCounts:
    """Occupied cells of `stride` voxels along each axis."""

    stride: Annotated[int, Field(ge=1, le=1024)]
    cells: Percentiles


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneStatistics:
    """What `bevdiag scene measure` writes.

    Attributes:
        frames: that were counted.
        points: a frame, inside the range.
        voxels: occupied cells, stride 1 first.
        lone_share: of the voxels, those with none of their 26 neighbours occupied.
    """

    schema: Literal["bevdiag.scene/1"]
    frames: Annotated[int, Field(ge=1)]
    grid: CellGrid
    points: Percentiles
    voxels: tuple[CellCounts, ...]
    lone_share: Percentiles


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCounts:
    """What one frame holds: its points in range, its cells by stride, its share of lone voxels."""

    points: int
    cells: tuple[int, ...]
    lone_share: float


def counted(points: Points, grid: CellGrid) -> FrameCounts:
    """Count a frame.

    Args:
        points: float32 [N, 3+], x, y, z in metres first.
        grid: where to count; points outside do not.
    """
    cells = grid.cells(points[grid.inside(points)])
    voxels = np.unique(keys_of(cells, 1))
    return FrameCounts(
        points=len(cells),
        cells=tuple(len(np.unique(keys_of(cells, stride))) for stride in STRIDES),
        lone_share=_lone_share(voxels),
    )


def statistics_of(frames: Sequence[FrameCounts], grid: CellGrid) -> SceneStatistics:
    """Return the percentiles of frames, of which there is at least one."""
    return SceneStatistics(
        schema="bevdiag.scene/1",
        frames=len(frames),
        grid=grid,
        points=_percentiles([frame.points for frame in frames]),
        voxels=tuple(
            CellCounts(stride=stride, cells=_percentiles([frame.cells[i] for frame in frames]))
            for i, stride in enumerate(STRIDES)
        ),
        lone_share=_percentiles([frame.lone_share for frame in frames], digits=3),
    )


def measured(
    paths: Sequence[Path], layout: PointLayout, grid: CellGrid
) -> tuple[SceneStatistics, tuple[str, ...]]:
    """Count the frames of all paths, of a folder up to `MOST_FRAMES`, evenly spread.

    Args:
        paths: files, and folders that stand for their files.
        layout: how a file is read.
        grid: where cells are counted.

    Returns:
        The statistics, and notes on doubtful files.

    Raises:
        InputError: a file cannot be used, or has no point inside the range.
    """
    frames: list[FrameCounts] = []
    notes: list[str] = []
    for path in (file for given in paths for file in point_files(given, MOST_FRAMES)):
        points, doubts = read_points(path, layout)
        frame = counted(points, grid)
        if not frame.points:
            raise InputError(
                f"{path}: none of its {len(points)} points lies inside the range "
                f"{list(grid.point_cloud_range)}: give --config with the range of your data"
            )
        frames.append(frame)
        notes += [f"{path.name}: {doubt}" for doubt in doubts]
    return statistics_of(frames, grid), tuple(notes)


def read_statistics(path: Path) -> SceneStatistics:
    """Read what `bevdiag scene measure` wrote.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    expected = "expected what `bevdiag scene measure` writes"
    found = read_json(path, SceneStatistics, _MOST_BYTES, expected)
    low, high = np.split(np.asarray(found.grid.point_cloud_range), 2)
    if not np.all((high - low) / found.grid.voxel_size <= _MOST_CELLS) or not np.all(high > low):
        raise InputError(
            f"{path}: grid: expected a range of 1 to {_MOST_CELLS} voxels along each axis"
        )
    if [row.stride for row in found.voxels] != list(STRIDES):
        raise InputError(f"{path}: voxels: expected the strides {', '.join(map(str, STRIDES))}")
    if found.points.low < 1:
        raise InputError(f"{path}: points: a frame without points trains nothing: measure others")
    return found


def keys_of(cells: Cells, stride: int) -> NDArray[np.int64]:
    """One number a cell of this stride; cells count from 0 and along an axis to 2^20."""
    coarse = cells // stride
    keys: NDArray[np.int64] = (coarse[:, 0] << 42) | (coarse[:, 1] << 21) | coarse[:, 2]
    return keys


def _lone_share(voxels: NDArray[np.int64]) -> float:
    """Of sorted keys at stride 1."""
    if not len(voxels):
        return 0.0
    met = np.zeros(len(voxels), bool)
    steps = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]
    for x, y, z in steps:
        if (x, y, z) != (0, 0, 0):
            other = voxels + (x << 42) + (y << 21) + z
            at = np.minimum(np.searchsorted(voxels, other), len(voxels) - 1)
            met |= voxels[at] == other
    return float(1.0 - met.mean())


def _percentiles(values: Sequence[Any], digits: int = 0) -> Percentiles:
    low, median, high = (round(float(v), digits) for v in np.percentile(values, _PERCENTILES))
    return Percentiles(low=low, median=median, high=high)


_MOST_CLOUDS = 8
"""That are laid over one another until there are enough cells to choose from."""

Cloud = Callable[[int], Points]
"""A synthetic cloud within the statistics' range, by its number."""


def matched(cloud: Cloud, statistics: SceneStatistics, scenario: Scenario, seed: int) -> Points:
    """Make a cloud with the counts that this scenario's frame has.

    The points are exact; the cells are as many as were measured where up to eight synthetic clouds
    together hold as many finer cells inside the coarser ones that were kept, else a few fewer.

    Returns:
        float32 [N, F], inside the statistics' range.

    Raises:
        InputError: the synthetic clouds have no point there.
    """
    targets = [round(row.cells.of(scenario)) for row in statistics.voxels]
    num_points = max(1, round(statistics.points.of(scenario)))
    pool = _pool(cloud, statistics, targets)
    kept = np.arange(len(pool))
    cells = statistics.grid.cells(pool)
    for stride, target in reversed(list(zip(STRIDES, targets, strict=True))):
        coarser = keys_of(cells[kept], 2 * stride)
        parents = np.zeros_like(coarser) if stride == STRIDES[-1] else coarser
        kept = kept[_chosen(keys_of(cells[kept], stride), parents, max(1, target))]
    return pool[_points(keys_of(cells[kept], 1), kept, num_points, np.random.default_rng(seed))]


def _pool(cloud: Cloud, statistics: SceneStatistics, targets: list[int]) -> Points:
    """Clouds laid over one another, the first one's points first, until they have the cells."""
    clouds: list[Points] = []
    for number in range(_MOST_CLOUDS):
        clouds.append(cloud(number))
        pool = np.concatenate(clouds)
        cells = statistics.grid.cells(pool)
        counts = [len(np.unique(keys_of(cells, stride))) for stride in STRIDES]
        if all(count >= target for count, target in zip(counts, targets, strict=True)):
            break
    if not len(pool):
        raise InputError(
            "no synthetic scene of this kind has a point inside the range of the --scene file: "
            "measure with the config's own range"
        )
    return pool


def _chosen(keys: NDArray[np.int64], parents: NDArray[np.int64], target: int) -> NDArray[np.bool_]:
    """Which points lie in the `target` cells that stay: one for each parent, then the earliest."""
    children, first, child_of = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    _, leads = np.unique(parents[first[order]], return_index=True)
    rest = np.delete(order, leads)
    stay = np.zeros(len(children), bool)
    stay[np.concatenate((order[leads], rest))[: max(target, len(leads))]] = True
    kept: NDArray[np.bool_] = stay[child_of]
    return kept


def _points(
    keys: NDArray[np.int64],
    kept: NDArray[np.int64],
    num_points: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """One point of every cell, and others, of some twice, up to the number wanted; shuffled."""
    _, first = np.unique(keys, return_index=True)
    missing = max(0, num_points - len(first))
    others = np.delete(np.arange(len(keys)), first)
    if missing <= len(others):
        more = rng.permutation(others)[:missing]
    else:
        again = rng.integers(0, len(keys), missing - len(others))
        more = np.concatenate((others, again))
    chosen: NDArray[np.int64] = kept[rng.permutation(np.concatenate((first, more)))]
    return chosen
