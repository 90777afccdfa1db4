"""Point clouds from files or synthetic, voxelized into the batch that a training step reads."""

from bevdiag.scenes.batch import Batch, Voxels, make_batch, voxelize
from bevdiag.scenes.choice import ROOM_RANGE, SceneKind, Wanted, fitting_kind
from bevdiag.scenes.files import read_points, read_samples
from bevdiag.scenes.point_layout import PointLayout
from bevdiag.scenes.scenario import Scenario
from bevdiag.scenes.synthetic import synthetic_lidar, synthetic_sonar

__all__ = [
    "ROOM_RANGE",
    "Batch",
    "PointLayout",
    "Scenario",
    "SceneKind",
    "Voxels",
    "Wanted",
    "fitting_kind",
    "make_batch",
    "read_points",
    "read_samples",
    "synthetic_lidar",
    "synthetic_sonar",
    "voxelize",
]
