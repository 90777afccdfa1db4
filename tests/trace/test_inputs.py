import numpy as np
import torch

from bevdiag.scenes.batch import make_batch
from bevdiag.trace.inputs import meta_batch


def _batch(max_points: int | None = 4):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    clouds = [rng.uniform(0, 4, (50, 5)).astype(np.float32) for _ in range(2)]
    return make_batch(
        clouds,
        point_cloud_range=(0.0, 0.0, 0.0, 4.0, 4.0, 4.0),
        voxel_size=(1.0, 1.0, 1.0),
        grid_size=(4, 4, 4),
        max_points=max_points,
        max_voxels=100,
        num_boxes=3,
        num_classes=2,
        seed=0,
        source="test",
    )


def test_features_have_shapes_and_coordinates_have_values() -> None:
    batch = _batch()
    tensors = meta_batch(batch)
    num_voxels = batch.num_voxels
    for key, shape in {
        "points": (100, 6),
        "voxels": (num_voxels, 4, 5),
        "voxel_num_points": (num_voxels,),
        "gt_boxes": (2, 3, 8),
    }.items():
        assert tensors[key].is_meta
        assert tensors[key].shape == shape
        assert tensors[key].dtype is torch.float32
    coords = tensors["voxel_coords"]
    assert coords.dtype is torch.float32
    np.testing.assert_array_equal(coords.numpy(), batch.voxel_coords())


def test_host_work_finds_boxes_with_values() -> None:
    batch = _batch()
    tensors = meta_batch(batch)
    np.testing.assert_array_equal(tensors["gt_boxes_host"], batch.gt_boxes)
    assert tensors["batch_size"] == 2


def test_where_the_model_voxelizes_there_are_points_only() -> None:
    tensors = meta_batch(_batch(max_points=None))
    assert not any(key.startswith("voxel") for key in tensors)
    assert tensors["points"].shape == (100, 6)
