import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes.datasets import DATA_SETS, KITTI, NUSCENES, VIEW_OF_DELFT, WAYMO
from bevdiag.scenes.street import street
from bevdiag.scenes.voxels import voxelize

WAYMO_RANGE = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
KITTI_RANGE = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
NUSCENES_RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)


def occupied(points, bounds, size) -> int:
    grid = np.round((np.array(bounds[3:]) - bounds[:3]) / size).astype(int)
    return len(voxelize(points, bounds, size, grid, 5, 10**6).coords)


@pytest.mark.parametrize("data_set", DATA_SETS, ids=lambda known: known.name)
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
