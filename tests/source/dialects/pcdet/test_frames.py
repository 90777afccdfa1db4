from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from bevdiag.scenes import make_batch
from bevdiag.scenes.datasets import DATA_SETS
from bevdiag.scenes.scenario import Scenario
from bevdiag.scenes.street import street
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
    made = calibration_of(method, frames_of([np.zeros((1, 4), np.float32)], (0, 0, 0, 1, 1, 1)))
    assert made.projection.shape == (3, 4)
    assert (made.client, made.scale) == (None, 1.0)


def test_the_camera_sees_every_point_of_a_synthetic_frame() -> None:
    # It has those of a frame that was cut to its image: FOV_POINTS_ONLY takes none away.
    bounds = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
    objects = ("Car", "Pedestrian") * 10
    frames = frames_of(
        [street(DATA_SETS["KITTI"], 1, bounds, 4, 0, Scenario.EXPECTED, objects)], bounds
    )
    held = frames.calibration()
    seen = frames.points[0][:, :3] @ held["Tr_velo2cam"][:, :3].T @ held["P2"][:, :3].T
    height, width = frames.image_size
    assert ((seen[:, :2] >= 0) & (seen[:, :2] < seen[:, 2:] * (width, height))).all()


def frames_of(samples: list[Any], bounds: tuple[float, ...]) -> Frames:
    batch = make_batch(
        samples,
        point_cloud_range=bounds,
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
    return Frames(batch, settings)
