"""`bevdiag scene measure`: every frame of files and folders, read and counted."""

from collections.abc import Sequence
from pathlib import Path

from bevdiag.errors import InputError
from bevdiag.scenes.files import point_files, read_points
from bevdiag.scenes.layout import Layout
from bevdiag.scenes.statistics import FrameCounts, Grid, SceneStatistics, counted, statistics_of

MOST_FRAMES = 1000
"""Of one folder; enough for its percentiles."""


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
