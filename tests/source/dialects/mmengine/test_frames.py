"""The rigs of cameras, and the files that a sample's points and labels stand in."""

from pathlib import Path

import numpy as np
import pytest

from bevdiag.source.dialects.mmengine.frames import Rig, _masks
from bevdiag.source.stubs.packages import EasyDict


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


def test_every_point_has_a_label_of_the_type_that_the_config_reads(tmp_path: Path) -> None:
    load = {"type": "LoadAnnotations3D", "seg_3d_dtype": "np.uint8"}
    found = _masks(7, 0, EasyDict({"pipeline": [load]}), tmp_path)
    labels = np.fromfile(found["pts_semantic_mask_path"], np.uint8)
    assert found["seg_label_mapping"][labels].tolist() == [0] * 7
