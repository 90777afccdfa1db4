"""The rigs of cameras, and the files that a sample's points and labels stand in."""

from pathlib import Path

import numpy as np
import pytest

from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmengine.frames import Frames, Rig, on_points
from bevdiag.source.stubs.small_packages import EasyDict


@pytest.mark.parametrize(
    ("dataset", "cameras", "size"),
    [
        ({"type": "KittiDataset"}, 1, (375, 1242)),
        ({"type": "NuScenesDataset"}, 6, (900, 1600)),
        ({"type": "NuScenesDataset", "load_type": "mv_image_based"}, 1, (900, 1600)),
        ({"type": "WaymoDataset"}, 5, (1280, 1920)),
        ({"type": "SUNRGBDDataset"}, 1, (530, 730)),
    ],
)
def test_a_rig_is_that_of_its_data_set(
    dataset: dict[str, str], cameras: int, size: tuple[int, int]
) -> None:
    rig = Rig.of(dataset)
    assert (len(rig.names), rig.size) == (cameras, size)


def test_what_lies_before_a_camera_is_in_the_middle_of_its_image() -> None:
    rig = Rig.of({"type": "NuScenesDataset"})
    height, width = rig.size
    for camera in range(len(rig.names)):
        angle = 2 * np.pi * camera / len(rig.names)
        ahead = np.array([10 * np.cos(angle), 10 * np.sin(angle), 0, 1])
        x, y, depth, _ = rig.intrinsics() @ rig.to_camera(camera) @ ahead
        assert depth == pytest.approx(10, abs=1e-4)
        assert (x / depth, y / depth) == pytest.approx((width / 2, height / 2), abs=1e-2)


def _scene() -> Batch:
    """Three points, of which the first is in the second of two boxes, of class 3."""
    points = np.array([[0, 5, 5, 1], [0, 0, 0, 0], [0, 20, 1, 1]], np.float32)
    boxes = np.array([[[9, 9, 9, 1, 1, 1, 0, 1], [5, 5, 1, 2, 2, 2, 0, 3]]], np.float32)
    return Batch(points, None, boxes, (1, 1, 1), "a test")


def test_points_have_the_labels_of_the_boxes_that_hold_them(tmp_path: Path) -> None:
    load = {"type": "LoadAnnotations3D", "seg_3d_dtype": "np.uint8"}
    found = Frames(_scene(), EasyDict({"pipeline": [load]}), tmp_path).masks(0)
    labels = np.fromfile(found["pts_semantic_mask_path"], np.uint8)
    assert found["seg_label_mapping"][labels].tolist() == [2, 3, 3]
    assert np.fromfile(found["pts_instance_mask_path"], np.uint8).tolist() == [1, 2, 2]


def test_boxes_are_put_where_points_are() -> None:
    scene = on_points(_scene())
    for x, y, z, *_ in scene.gt_boxes[0]:
        assert (np.abs(scene.points[:, 1:4] - (x, y, z)) <= 0.8).all(axis=1).any()
