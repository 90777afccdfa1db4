from typing import Any

import numpy as np
import pytest

from bevdiag.errors import InputError
from bevdiag.scenes import Batch, make_batch

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
