import json
from dataclasses import asdict

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import Layout, Scenario, Wanted
from bevdiag.scenes.matched import matched
from bevdiag.scenes.statistics import Grid, counted, statistics_of

FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
GRID = Grid(point_cloud_range=FORWARD, voxel_size=(0.1, 0.1, 0.2))


def _synthetic(scenario, seed, **given) -> np.ndarray:
    layout = Layout(features=("x", "y", "z", "intensity"), point_cloud_range=FORWARD)
    wanted = Wanted(layout=layout, batch_size=1, dataset="KittiDataset", seed=seed, **given)
    return wanted.samples(scenario)[0][0]


@pytest.fixture(scope="module")
def statistics():
    frames = [counted(_synthetic(s, seed), GRID) for s in Scenario for seed in (5, 6)]
    return statistics_of(frames, GRID)


@pytest.fixture(scope="module")
def scene(statistics, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("scene") / "mine.json"
    path.write_text(json.dumps(asdict(statistics)))
    return str(path)


@pytest.mark.parametrize("scenario", Scenario)
def test_a_scene_has_the_counts_of_the_frames(statistics, scene, scenario) -> None:
    found = counted(_synthetic(scenario, 0, scene=scene), GRID)
    assert found.points == statistics.points.of(scenario)
    for cells, row in zip(found.cells, statistics.voxels, strict=True):
        assert cells == pytest.approx(row.cells.of(scenario), rel=0.08)
    assert found.cells[0] == pytest.approx(statistics.voxels[0].cells.of(scenario), rel=0.02)
    assert found.lone_share == pytest.approx(statistics.lone_share.of(scenario), abs=0.06)


def test_a_dense_scene_takes_several_clouds(statistics) -> None:
    def cloud(number: int) -> np.ndarray:
        return _synthetic(Scenario.EXPECTED, 100 + number)[:2000]

    frame = counted(matched(cloud, statistics, Scenario.EXPECTED, 0), GRID)
    assert frame.points == statistics.points.median
    assert frame.cells[0] > 4 * counted(cloud(0), GRID).cells[0]


def test_samples_differ_and_the_source_names_the_file(scene) -> None:
    layout = Layout(features=("x", "y", "z"), point_cloud_range=FORWARD)
    (one, two), source = Wanted(layout=layout, batch_size=2, scene=scene).samples(Scenario.LOW)
    assert "mine.json (6 frames)" in source
    assert not np.array_equal(one[:50], two[:50])


def test_a_config_elsewhere_is_refused(scene) -> None:
    layout = Layout(features=("x", "y", "z"), point_cloud_range=(500, 0, -3, 520, 10, 1))
    with pytest.raises(InputError, match=r"mine\.json: none of its points .*--config"):
        Wanted(layout=layout, batch_size=1, scene=scene).samples(Scenario.EXPECTED)
