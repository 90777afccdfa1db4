import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import Batch, make_batch, synthetic_lidar, synthetic_sonar, voxelize

BOUNDS = (0.0, -4.0, -1.0, 8.0, 4.0, 1.0)


def _batch(*samples: np.ndarray, **changes: Any) -> Batch:
    settings: dict[str, Any] = {
        "point_cloud_range": BOUNDS,
        "voxel_size": (1, 1, 1),
        "grid_size": (8, 8, 2),
        "max_points": 3,
        "max_voxels": 10,
        "num_boxes": 5,
        "num_classes": 3,
        "seed": 0,
        "source": "by hand",
    }
    return make_batch(samples, **(settings | changes))


def _points(*xyz: tuple[float, float, float]) -> np.ndarray:
    return np.array(xyz, np.float32)


def test_samples_are_collated_with_their_index_first() -> None:
    batch = _batch(_points((0.5, 0.5, 0.5), (1.5, 0.5, 0.5)), _points((7.5, -3.5, -0.5)))

    assert batch.batch_size == 2
    assert batch.num_voxels == 3
    assert batch.points[:, 0].tolist() == [0, 0, 1]
    assert batch.voxel_coords().tolist() == [[0, 1, 4, 0], [0, 1, 4, 1], [1, 0, 0, 7]]
    assert batch.voxel_coords().dtype == np.int32
    assert batch.voxel_num_points().tolist() == [1, 1, 1]
    assert batch.padded_voxels().shape == (3, 3, 3)
    assert batch.points.dtype == np.float32


def test_points_are_cropped_in_plane_and_keep_their_height() -> None:
    batch = _batch(_points((-0.1, 0, 0), (8.0, 4.0, 0), (0.5, 0.5, 9.0), (0.5, 0.5, 0.5)))

    assert batch.points[:, 1].tolist() == [8.0, 0.5, 0.5]
    assert batch.num_voxels == 1


@pytest.mark.parametrize("cap", ["max_points", "max_voxels"])
def test_without_a_cap_the_model_voxelizes(cap: str) -> None:
    batch = _batch(_points((0.5, 0.5, 0.5)), **{cap: None})

    assert batch.voxels is None
    assert batch.num_voxels == 0
    with pytest.raises(ValueError, match="points only"):
        batch.voxel_coords()


def test_a_sample_outside_the_range_is_refused() -> None:
    with pytest.raises(InputError, match="sample 1 of by hand: none of its 1 points"):
        _batch(_points((0.5, 0.5, 0.5)), _points((0.5, 0.5, 5.0)))


def test_boxes_lie_inside_the_range_and_repeat_by_seed() -> None:
    cloud = _points((0.5, 0.5, 0.5))
    boxes = _batch(cloud, cloud, num_boxes=200).gt_boxes
    centre, size = boxes[..., :3], boxes[..., 3:6]

    assert boxes.shape == (2, 200, 8)
    assert boxes.dtype == np.float32
    assert (size > 0).all()
    assert (centre - size / 2 >= np.subtract(BOUNDS[:3], 1e-5)).all()
    assert (centre + size / 2 <= np.add(BOUNDS[3:], 1e-5)).all()
    assert set(np.unique(boxes[..., 7])) == {1, 2, 3}
    np.testing.assert_array_equal(boxes, _batch(cloud, cloud, num_boxes=200).gt_boxes)
    assert not np.array_equal(boxes, _batch(cloud, cloud, num_boxes=200, seed=1).gt_boxes)


TRUTH = Path(__file__).resolve().parents[2].parent / "shared" / "truth" / "scenes.py"
UNIT_RANGE = (0.0, 0.0, 0.0, 4.0, 4.0, 2.0)
UNIT_GRID = (4, 4, 2)


@pytest.fixture(scope="module")
def truth() -> ModuleType:
    if not TRUTH.is_file():
        pytest.skip("the scenes of the measured rows are not beside this checkout")
    spec = importlib.util.spec_from_file_location("truth_scenes", TRUTH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cloud(*xyz: tuple[float, float, float]) -> np.ndarray:
    return np.array([(*p, float(i)) for i, p in enumerate(xyz)], np.float32)


def test_voxels_stand_in_the_order_of_their_first_point() -> None:
    points = _cloud((3.5, 0.5, 1.5), (0.5, 2.5, 0.5), (3.6, 0.6, 1.6))

    voxels = voxelize(points, UNIT_RANGE, (1, 1, 1), UNIT_GRID, 5, 10)

    assert voxels.coords.tolist() == [[1, 0, 3], [0, 2, 0]]
    assert voxels.num_points.tolist() == [2, 1]
    assert voxels.points[:, 3].tolist() == [0, 2, 1]
    assert voxels.voxel_of_point.tolist() == [0, 0, 1]


def test_points_of_voxels_beyond_the_cap_are_dropped() -> None:
    points = _cloud((0.5, 0.5, 0.5), (1.5, 0.5, 0.5), (2.5, 0.5, 0.5), (0.6, 0.5, 0.5))

    voxels = voxelize(points, UNIT_RANGE, (1, 1, 1), UNIT_GRID, 5, 2)

    assert voxels.coords.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert voxels.points[:, 3].tolist() == [0, 3, 1]


def test_points_beyond_a_voxels_cap_are_dropped_and_padding_is_zero() -> None:
    points = _cloud((0.5, 0.5, 0.5), (0.6, 0.5, 0.5), (0.7, 0.5, 0.5), (1.5, 0.5, 0.5))

    voxels = voxelize(points, UNIT_RANGE, (1, 1, 1), UNIT_GRID, 2, 9)
    padded = voxels.padded()

    assert padded.shape == (2, 2, 4)
    assert padded[0, :, 3].tolist() == [0, 1]
    assert padded[1, 0].tolist() == [1.5, 0.5, 0.5, 3.0]
    assert not padded[1, 1].any()


def test_points_outside_the_grid_are_dropped() -> None:
    points = _cloud((-0.1, 0.5, 0.5), (4.0, 0.5, 0.5), (0.5, 0.5, 2.0), (0.5, 0.5, 1.9))

    voxels = voxelize(points, UNIT_RANGE, (1, 1, 1), UNIT_GRID, 2, 9)

    assert voxels.points[:, 3].tolist() == [3]


def test_no_point_in_the_grid_gives_no_voxel() -> None:
    voxels = voxelize(_cloud((9, 9, 9)), UNIT_RANGE, (1, 1, 1), UNIT_GRID, 2, 9)

    assert voxels.coords.shape == (0, 3)
    assert voxels.padded().shape == (0, 2, 4)


@pytest.mark.parametrize(("max_points", "max_voxels"), [(5, 100_000), (2, 7_000), (1, 1)])
def test_equals_the_voxelizer_of_the_measured_rows(
    truth: ModuleType, max_points: int, max_voxels: int
) -> None:
    lidar_range = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
    sonar_range = (0.0, -20.0, -20.0, 50.0, 20.0, 15.0)
    cases = [
        (synthetic_lidar(30_000, lidar_range, 5, 3), lidar_range, (0.1, 0.1, 0.15)),
        (truth.lidar(np.array(lidar_range, np.float32), 30_000, 1, 5), lidar_range, (0.1, 0.1, 6)),
        (synthetic_sonar(20_000, sonar_range, 4, 3), sonar_range, (0.1, 0.2, 0.2)),
    ]
    for points, bounds, size in cases:
        extent = np.subtract(bounds[3:], bounds[:3])
        grid = np.round(extent / np.array(size)).astype(int)
        expected, coords, counts = truth.voxelize(
            points, np.array(bounds[:3]), np.array(size), grid, max_points, max_voxels
        )

        voxels = voxelize(points, bounds, size, grid, max_points, max_voxels)

        np.testing.assert_array_equal(voxels.coords, coords)
        np.testing.assert_array_equal(voxels.num_points, counts)
        np.testing.assert_array_equal(voxels.padded(), expected)
