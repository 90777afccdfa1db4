"""What frames hold, counted: points, and occupied cells at the strides of a backbone.

The counts can be shared where the clouds cannot; `matched` makes a synthetic scene of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from bevdiag.errors import InputError
from bevdiag.scenes.files import point_files, read_points
from bevdiag.scenes.layout import Layout, Points, within
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
class Grid:
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


DEFAULT_GRID = Grid(
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
    grid: Grid
    points: Percentiles
    voxels: tuple[CellCounts, ...]
    lone_share: Percentiles


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCounts:
    """What one frame holds: its points in range, its cells by stride, its share of lone voxels."""

    points: int
    cells: tuple[int, ...]
    lone_share: float


def counted(points: Points, grid: Grid) -> FrameCounts:
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


def statistics_of(frames: Sequence[FrameCounts], grid: Grid) -> SceneStatistics:
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
    paths: Sequence[Path], layout: Layout, grid: Grid
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
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: is larger than {_MOST_BYTES} bytes: expected a few hundred")
        found = TypeAdapter(SceneStatistics).validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(
            f"{path}: {where + ': ' if where else ''}{reason}; expected what `bevdiag scene "
            "measure` writes"
        ) from error
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
