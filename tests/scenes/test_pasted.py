import numpy as np

from bevdiag.scenes.datasets import KITTI, VIEW_OF_DELFT, WAYMO
from bevdiag.scenes.pasted import pasted
from bevdiag.scenes.scenario import Scenario
from bevdiag.scenes.street import street

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
