from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from bevdiag.scenes import make_batch
from bevdiag.source.dialects.pcdet.frames import Frames, calibration_of
from bevdiag.trace.alternatives import TracedStep
from tests.source.dialects.pcdet.own_data import Own


def test_a_frame_is_not_turned_at_random(own: Own, plain: TracedStep) -> None:
    # Turned by the three radians that the config allows, most points would leave the range.
    assert own("Plain").num_voxels == plain.num_voxels


def test_what_would_move_each_object_is_not_even_called(plain: TracedStep) -> None:
    assert not any("shake" in finding for finding in plain.findings)


def test_a_calibration_that_asks_for_a_storage_client_is_made_without() -> None:
    class Calibration:
        def __init__(self, file: dict[str, Any], client: Any, scale: float = 1.0) -> None:
            self.projection, self.client, self.scale = file["P2"], client, scale

    module = ModuleType("calibration_of_fork")
    module.__dict__["Calibration"] = Calibration
    method = FunctionType(compile("None", "get_calib", "exec"), {"calibration_of_fork": module})
    batch = make_batch(
        [np.zeros((1, 4), np.float32)],
        point_cloud_range=(0, 0, 0, 1, 1, 1),
        voxel_size=(1.0, 1.0, 1.0),
        grid_size=(1, 1, 1),
        max_points=None,
        max_voxels=None,
        num_boxes=1,
        num_classes=1,
        seed=0,
        source="test",
    )
    settings: Any = SimpleNamespace(point_features="xyzi", class_names=("Car",), box_size=7)
    frames = Frames(batch, settings)
    made = calibration_of(method, frames)
    assert made.projection.shape == (3, 4)
    assert (made.client, made.scale) == (None, 1.0)
