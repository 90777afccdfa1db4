import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes.batch import voxelize
from bevdiag.scenes.datasets import DATA_SETS
from bevdiag.scenes.scenario import Scenario
from bevdiag.scenes.street import pasted, street

KITTI, NUSCENES, VIEW_OF_DELFT, WAYMO = (
    DATA_SETS[name] for name in ("KITTI", "nuScenes", "View-of-Delft radar", "Waymo")
)
WAYMO_RANGE = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
KITTI_RANGE = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
NUSCENES_RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)


def occupied(points, bounds, size) -> int:
    grid = np.round((np.array(bounds[3:]) - bounds[:3]) / size).astype(int)
    return len(voxelize(points, bounds, size, grid, 5, 10**6).coords)


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=lambda known: known.name)
def test_points_lie_inside_the_range_and_follow_the_seed(data_set) -> None:
    points = street(data_set, 1, NUSCENES_RANGE, 5, 7)
    assert points.dtype == np.float32
    assert points.shape[1] == 5
    assert (points[:, :3] >= NUSCENES_RANGE[:3]).all()
    assert (points[:, :3] < NUSCENES_RANGE[3:]).all()
    np.testing.assert_array_equal(points, street(data_set, 1, NUSCENES_RANGE, 5, 7))
    assert not np.array_equal(points[:100], street(data_set, 1, NUSCENES_RANGE, 5, 8)[:100])


def test_surfaces_shrink_from_stride_to_stride() -> None:
    points = street(WAYMO, 1, WAYMO_RANGE, 4, 0)
    fine = occupied(points, WAYMO_RANGE, np.array((0.1, 0.1, 0.15)))
    coarse = occupied(points, WAYMO_RANGE, np.array((0.2, 0.2, 0.3)))
    assert coarse < 0.6 * fine  # of a cloud of dust nearly every voxel stays


def test_the_surfaces_stay_from_sweep_to_sweep() -> None:
    size = np.array((0.1, 0.1, 0.15))
    one = occupied(street(WAYMO, 1, WAYMO_RANGE, 4, 0), WAYMO_RANGE, size)
    two = occupied(street(WAYMO, 2, WAYMO_RANGE, 4, 0), WAYMO_RANGE, size)
    assert 1.2 * one < two < 1.9 * one


def test_only_the_cameras_view_of_kitti_is_kept() -> None:
    points = street(KITTI, 1, WAYMO_RANGE, 4, 0)
    assert np.abs(np.rad2deg(np.arctan2(points[:, 1], points[:, 0]))).max() <= KITTI.view / 2


def test_a_radar_has_hundreds_of_points() -> None:
    assert 100 < len(street(VIEW_OF_DELFT, 1, KITTI_RANGE, 7, 0)) <= VIEW_OF_DELFT.rays


def test_a_range_without_a_point_is_refused() -> None:
    with pytest.raises(InputError, match="give point files"):
        street(NUSCENES, 1, (0.0, 0.0, 50.0, 1.0, 1.0, 51.0), 4, 0)


FORWARD = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
AROUND = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)


def _pasted(*classes, data_set=KITTI, bounds=FORWARD, seed=0) -> np.ndarray:
    return pasted(classes, data_set, bounds, np.random.default_rng(seed))


def test_objects_lie_in_the_range_and_the_view() -> None:
    points = _pasted(*["Car"] * 20)
    assert points.dtype == np.float32
    assert (points >= FORWARD[:3]).all()
    assert (points < FORWARD[3:]).all()
    off_axis = np.abs(np.rad2deg(np.arctan2(points[:, 1], points[:, 0])))
    assert off_axis.max() < KITTI.view / 2 + 25  # a car at 5 m reaches out of the view


def test_near_objects_have_more_points_and_small_ones_fewer() -> None:
    cars = [_pasted("Car", seed=seed) for seed in range(40)]
    near = [len(c) for c in cars if len(c) and np.linalg.norm(c[:, :2].mean(axis=0)) < 20]
    far = [len(c) for c in cars if len(c) and np.linalg.norm(c[:, :2].mean(axis=0)) > 40]
    assert min(near) > max(far)
    walkers = sum(len(_pasted("Pedestrian", seed=seed)) for seed in range(40))
    assert walkers < 0.6 * sum(map(len, cars))


def test_objects_that_would_touch_are_left_out() -> None:
    many, few = _pasted(*["Car"] * 100), _pasted(*["Car"] * 25)
    assert len(many) < 3 * len(few)  # of 100 cars the most find no place


def test_a_radar_and_a_config_without_groups_get_none() -> None:
    assert len(_pasted()) == 0
    assert len(_pasted("Car", data_set=VIEW_OF_DELFT)) == 0


def test_the_common_and_the_dense_frame_hold_them() -> None:
    classes = ("Vehicle",) * 10
    for scenario in Scenario:
        bare = street(WAYMO, 1, AROUND, 4, 0, scenario)
        more = len(street(WAYMO, 1, AROUND, 4, 0, scenario, classes)) - len(bare)
        assert (more > 500) is (scenario is not Scenario.LOW)
