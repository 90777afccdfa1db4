import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import (
    ROOM_RANGE,
    PointLayout,
    Scenario,
    SceneKind,
    Wanted,
    fitting_kind,
    synthetic_sonar,
)
from bevdiag.scenes.choice import ROOM_POINTS

AROUND = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
SONAR = (0.0, -20.0, -20.0, 50.0, 20.0, 15.0)
XYZI = ("x", "y", "z", "intensity")


def wanted(bounds=AROUND, batch_size=1, **given) -> Wanted:
    layout = PointLayout(features=XYZI, point_cloud_range=bounds)
    return Wanted(**{"layout": layout, "batch_size": batch_size, **given})


def default_samples(bounds, batch_size, scenario=Scenario.EXPECTED, **given):
    return wanted(bounds, batch_size, **given).samples(scenario)


def test_volumes_and_names_choose_the_sensor() -> None:
    assert fitting_kind(FORWARD, "KittiDataset") is SceneKind.LIDAR
    assert fitting_kind(SONAR, "CustomDataset") is SceneKind.SONAR
    assert fitting_kind(FORWARD, "SonarDataset") is SceneKind.SONAR
    assert fitting_kind(FORWARD, "ScanNetSegDataset") is SceneKind.ROOM


def test_a_room_is_one_of_three_and_stays_in_its_range() -> None:
    indoors = wanted(ROOM_RANGE, dataset="S3DISDataset")
    assert indoors.scenarios == tuple(ROOM_POINTS)
    (points,), source = indoors.samples(Scenario.LOW)
    assert (len(points), source) == (ROOM_POINTS[Scenario.LOW], "synthetic room, seed 0")
    low, high = np.split(np.array(ROOM_RANGE), 2)
    assert ((points[:, :3] >= low) & (points[:, :3] < high)).all()
    assert (points[:, 2] == 0).mean() == pytest.approx(0.25, abs=0.02)


def test_default_samples_differ_and_name_their_source() -> None:
    samples, source = default_samples(SONAR, 2, seed=3)
    assert source == "synthetic sonar, seed 3"
    assert not np.array_equal(samples[0][:10], samples[1][:10])
    np.testing.assert_array_equal(samples[1], synthetic_sonar(40_000, SONAR, 4, 4))


def test_the_source_says_what_a_data_set_was_taken_for() -> None:
    (one,), source = default_samples(AROUND, 1, dataset="NuScenesDataset")
    (ten,), merged = default_samples(AROUND, 1, dataset="NuScenesDataset", frames=10)
    assert source == "synthetic nuScenes scene, seed 0"
    assert merged == "synthetic nuScenes scene of 10 frames, seed 0"
    assert 9 * len(one) < len(ten) < 11 * len(one)
    taken = default_samples(FORWARD, 1, dataset="MyDataset")[1]
    assert taken == "synthetic KITTI scene (MyDataset, taken for it by its range), seed 0"


def test_files_go_before_the_synthetic_scene(tmp_path) -> None:
    path = tmp_path / "cloud.npy"
    np.save(path, np.ones((5, 4), np.float32))
    (points,), source = wanted(files=(str(path),)).samples(Scenario.EXPECTED)
    assert (len(points), source) == (5, "cloud.npy")


def test_a_batch_that_is_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(InputError, match="too many"):
        default_samples(AROUND, 1_000, dataset="WaymoDataset")


def test_an_option_for_files_without_any_is_refused() -> None:
    for option, given in (
        ("--point-columns", {"columns": 5}),
        ("--point-dtype", {"dtype": "float16"}),
    ):
        layout = PointLayout(features=XYZI, point_cloud_range=AROUND, **given)
        with pytest.raises(InputError, match=f"{option}.*--points"):
            wanted(layout=layout).samples(Scenario.EXPECTED)


def cells(points, size) -> int:
    return len(np.unique(np.floor(points[:, :3] / size).astype(int), axis=0))


@pytest.mark.parametrize(
    ("dataset", "bounds", "frames"),
    [("KittiDataset", FORWARD, 1), ("WaymoDataset", AROUND, 2), ("NuScenesDataset", AROUND, 3)],
)
def test_frames_are_sparse_common_and_dense(dataset, bounds, frames) -> None:
    clouds = [
        default_samples(bounds, 1, scenario, dataset=dataset, frames=frames)[0][0]
        for scenario in Scenario
    ]
    for size in (0.1, 0.2, 0.4):
        low, expected, high = (cells(cloud, size) for cloud in clouds)
        assert 1.02 * low < expected < high / 1.02


def test_a_ping_has_fewer_echoes_in_the_sparse_scene_alone() -> None:
    assert wanted(SONAR).scenarios == (Scenario.LOW, Scenario.EXPECTED)
    sizes = [len(default_samples(SONAR, 1, scenario)[0][0]) for scenario in Scenario]
    assert sizes[0] < 0.6 * sizes[1]
    assert sizes[1] == sizes[2]


def test_files_are_the_scene_of_every_scenario() -> None:
    assert wanted(files=("cloud.npy",)).scenarios == (Scenario.EXPECTED,)
