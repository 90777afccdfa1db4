import json
from dataclasses import asdict

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes.statistics import (
    STRIDES,
    Grid,
    counted,
    read_statistics,
    statistics_of,
)

GRID = Grid(point_cloud_range=(0, 0, 0, 32, 32, 32), voxel_size=(1.0, 1.0, 1.0))


def _frame(*cells) -> np.ndarray:
    return np.array(cells, np.float32) + 0.5


def test_cells_are_counted_at_every_stride_and_points_inside_alone() -> None:
    frame = counted(_frame((0, 0, 0), (0, 0, 0), (1, 0, 0), (9, 9, 9), (40, 0, 0)), GRID)
    assert frame.points == 4
    assert frame.cells == (3, 2, 2, 2, 1)


def test_a_lone_voxel_has_none_of_its_26_neighbours() -> None:
    corner, diagonal, lone, edge = (0, 0, 0), (1, 1, 1), (9, 9, 9), (0, 1, 31)
    assert counted(_frame(corner, diagonal, lone, edge), GRID).lone_share == 0.5


def test_the_statistics_are_percentiles() -> None:
    frames = [counted(_frame(*[(i, 0, 0) for i in range(n)]), GRID) for n in range(1, 22)]
    found = statistics_of(frames, GRID)
    assert (found.points.low, found.points.median, found.points.high) == (2, 11, 20)
    assert [row.stride for row in found.voxels] == list(STRIDES)
    assert found.frames == 21


def test_a_file_reads_back(tmp_path) -> None:
    statistics = statistics_of([counted(_frame((0, 0, 0), (5, 5, 5)), GRID)], GRID)
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(asdict(statistics)))
    assert read_statistics(path) == statistics


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "bevdiag.scene/9"}, "schema"),
        ({"frames": 0}, "frames"),
        ({"grid": {"point_cloud_range": [0, 0, 0, 1, 1, 1], "voxel_size": [0, 1, 1]}}, "grid"),
        ({"grid": {"point_cloud_range": [1, 0, 0, 1, 1, 1], "voxel_size": [1, 1, 1]}}, "grid"),
        ({"grid": {"point_cloud_range": [0, 0, 0, 9, 9, 9], "voxel_size": [1e-9] * 3}}, "grid"),
        ({"voxels": []}, "strides 1, 2, 4, 8, 16"),
        ({"points": {"low": 0, "median": 1, "high": 1}}, "a frame without points"),
        ({"points": {"low": -1, "median": 1, "high": 1}}, "points.low"),
        ({"points": "many"}, "points"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, change, words) -> None:
    statistics = statistics_of([counted(_frame((0, 0, 0)), GRID)], GRID)
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(asdict(statistics) | change))
    with pytest.raises(InputError, match=words):
        read_statistics(path)


def test_a_missing_or_foreign_file_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_statistics(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[1, 2")
    with pytest.raises(InputError, match="bevdiag scene measure"):
        read_statistics(tmp_path / "other.json")
