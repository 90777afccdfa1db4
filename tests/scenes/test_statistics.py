import json
import os
from dataclasses import asdict

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import PointLayout, Scenario, Wanted
from bevdiag.scenes.statistics import (
    STRIDES,
    CellGrid,
    counted,
    matched,
    read_statistics,
    statistics_of,
)

GRID = CellGrid(point_cloud_range=(0, 0, 0, 32, 32, 32), voxel_size=(1.0, 1.0, 1.0))


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
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="this is a pipe"):  # which nobody writes to
        read_statistics(tmp_path / "pipe")
    (tmp_path / "other.json").write_text("[1, 2")
    with pytest.raises(InputError, match="bevdiag scene measure"):
        read_statistics(tmp_path / "other.json")


FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
OF_SCENE = CellGrid(point_cloud_range=FORWARD, voxel_size=(0.1, 0.1, 0.2))


def _synthetic(scenario, seed, **given) -> np.ndarray:
    layout = PointLayout(features=("x", "y", "z", "intensity"), point_cloud_range=FORWARD)
    wanted = Wanted(layout=layout, batch_size=1, dataset="KittiDataset", seed=seed, **given)
    return wanted.samples(scenario)[0][0]


@pytest.fixture(scope="module")
def statistics():
    frames = [counted(_synthetic(s, seed), OF_SCENE) for s in Scenario for seed in (5, 6)]
    return statistics_of(frames, OF_SCENE)


@pytest.fixture(scope="module")
def scene(statistics, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("scene") / "mine.json"
    path.write_text(json.dumps(asdict(statistics)))
    return str(path)


@pytest.mark.parametrize("scenario", Scenario)
def test_a_scene_has_the_counts_of_the_frames(statistics, scene, scenario) -> None:
    found = counted(_synthetic(scenario, 0, scene=scene), OF_SCENE)
    assert found.points == statistics.points.of(scenario)
    for cells, row in zip(found.cells, statistics.voxels, strict=True):
        assert cells == pytest.approx(row.cells.of(scenario), rel=0.08)
    assert found.cells[0] == pytest.approx(statistics.voxels[0].cells.of(scenario), rel=0.02)
    assert found.lone_share == pytest.approx(statistics.lone_share.of(scenario), abs=0.06)


def test_a_dense_scene_takes_several_clouds(statistics) -> None:
    def cloud(number: int) -> np.ndarray:
        return _synthetic(Scenario.EXPECTED, 100 + number)[:2000]

    frame = counted(matched(cloud, statistics, Scenario.EXPECTED, 0), OF_SCENE)
    assert frame.points == statistics.points.median
    assert frame.cells[0] > 4 * counted(cloud(0), OF_SCENE).cells[0]


def test_samples_differ_and_the_source_names_the_file(scene) -> None:
    layout = PointLayout(features=("x", "y", "z"), point_cloud_range=FORWARD)
    (one, two), source = Wanted(layout=layout, batch_size=2, scene=scene).samples(Scenario.LOW)
    assert "mine.json (6 frames)" in source
    assert not np.array_equal(one[:50], two[:50])


def test_a_config_elsewhere_is_refused(scene) -> None:
    layout = PointLayout(features=("x", "y", "z"), point_cloud_range=(500, 0, -3, 520, 10, 1))
    with pytest.raises(InputError, match=r"mine\.json: none of its points .*--config"):
        Wanted(layout=layout, batch_size=1, scene=scene).samples(Scenario.EXPECTED)
