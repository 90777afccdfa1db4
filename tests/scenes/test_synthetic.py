import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import (
    synthetic_lidar,
    synthetic_sonar,
    voxelize,
)

KITTI = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
WAYMO = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
SONAR = (0.0, -20.0, -20.0, 50.0, 20.0, 15.0)


@pytest.mark.parametrize("make", [synthetic_lidar, synthetic_sonar])
@pytest.mark.parametrize("bounds", [KITTI, WAYMO, SONAR])
def test_points_lie_inside_the_range_and_repeat_by_seed(make, bounds) -> None:
    points = make(5_000, bounds, 5, 7)

    assert points.dtype == np.float32
    assert points.shape[1] == 5
    assert (points[:, :3] >= bounds[:3]).all()
    assert (points[:, :3] < bounds[3:]).all()
    assert 4_000 < len(points) <= 5_000
    np.testing.assert_array_equal(points, make(5_000, bounds, 5, 7))
    assert not np.array_equal(points[:100], make(5_000, bounds, 5, 8)[:100])


def test_a_cloud_beyond_one_revolution_takes_several() -> None:
    assert synthetic_lidar(250_000, WAYMO, 4, 0).shape == (250_000, 4)


def test_sonar_fills_nearly_a_voxel_a_point() -> None:
    points = synthetic_sonar(40_000, SONAR, 4, 0)
    voxels = voxelize(points, SONAR, (0.1, 0.2, 0.2), (500, 200, 175), 128, 40_000)

    assert 0.85 * 40_000 < len(voxels.coords) <= 40_000


def test_lidar_is_densest_near_the_sensor() -> None:
    distance = np.linalg.norm(synthetic_lidar(50_000, WAYMO, 4, 0)[:, :2], axis=1)
    near = np.mean(distance < 20)
    area_share = np.pi * 20**2 / 150.4**2

    assert near > 3 * area_share


def test_a_range_that_no_ray_reaches_is_refused() -> None:
    with pytest.raises(InputError, match="give point files"):
        synthetic_lidar(100, (0.0, 0.0, 0.0, 1.0, 1.0, 0.5), 4, 0)
