import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import (
    Layout,
    SceneKind,
    chosen_samples,
    default_samples,
    fitting_kind,
    synthetic_sonar,
)

AROUND = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
SONAR = (0.0, -20.0, -20.0, 50.0, 20.0, 15.0)
XYZI = ("x", "y", "z", "intensity")
LAYOUT = Layout(features=XYZI, point_cloud_range=AROUND)


def test_volumes_and_names_choose_the_sensor() -> None:
    assert fitting_kind(FORWARD, "KittiDataset") is SceneKind.LIDAR
    assert fitting_kind(SONAR, "CustomDataset") is SceneKind.SONAR
    assert fitting_kind(FORWARD, "SonarDataset") is SceneKind.SONAR


def test_default_samples_differ_and_name_their_source() -> None:
    samples, source = default_samples(SONAR, XYZI, 2, seed=3)
    assert source == "synthetic sonar, seed 3"
    assert not np.array_equal(samples[0][:10], samples[1][:10])
    np.testing.assert_array_equal(samples[1], synthetic_sonar(40_000, SONAR, 4, 4))


def test_the_source_says_what_a_data_set_was_taken_for() -> None:
    (one,), source = default_samples(AROUND, XYZI, 1, dataset="NuScenesDataset")
    (ten,), merged = default_samples(AROUND, XYZI, 1, dataset="NuScenesDataset", frames=10)
    assert source == "synthetic nuScenes scene, seed 0"
    assert merged == "synthetic nuScenes scene of 10 frames, seed 0"
    assert 9 * len(one) < len(ten) < 11 * len(one)
    assert "KITTI" in default_samples(FORWARD, XYZI, 1, dataset="MyDataset")[1]


def test_files_go_before_the_synthetic_scene(tmp_path) -> None:
    path = tmp_path / "cloud.npy"
    np.save(path, np.ones((5, 4), np.float32))
    (points,), source = chosen_samples((str(path),), LAYOUT, 1, dataset="", frames=1, seed=0)
    assert (len(points), source) == (5, "cloud.npy")


def test_a_batch_that_is_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(InputError, match="too many"):
        default_samples(AROUND, XYZI, 1_000, dataset="WaymoDataset")


def test_an_option_for_files_without_any_is_refused() -> None:
    for option, given in (
        ("--point-columns", {"columns": 5}),
        ("--point-dtype", {"dtype": "float16"}),
    ):
        layout = Layout(features=XYZI, point_cloud_range=AROUND, **given)
        with pytest.raises(InputError, match=f"{option}.*--points"):
            chosen_samples((), layout, 1, dataset="", frames=1, seed=0)
