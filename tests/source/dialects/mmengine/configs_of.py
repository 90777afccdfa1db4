from typing import Any

from bevdiag.source.stubs.small_packages import EasyDict

PIPELINE = [
    {"type": "LoadPointsFromFile", "load_dim": 5, "use_dim": 4},
    {"type": "LoadPointsFromMultiSweeps", "sweeps_num": 9},
    {"type": "PointsRangeFilter", "point_cloud_range": [0, -40, -3, 70.4, 40, 1]},
    {"type": "PointShuffle"},
]
DATASET = {
    "type": "RepeatDataset",
    "dataset": {
        "type": "NuScenesDataset", "pipeline": PIPELINE, "metainfo": {"classes": ["car", "bus"]}
    },
}  # fmt: skip
LAYER = {"voxel_size": [0.05, 0.05, 0.1], "max_num_points": 5, "max_voxels": [16000, 40000]}


def _config(**changes: Any) -> EasyDict:
    written = {
        "model": {"type": "VoxelNet", "data_preprocessor": {"voxel_layer": LAYER}},
        "train_dataloader": {"batch_size": 6, "dataset": DATASET},
        "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD"}},
    }
    return EasyDict({**written, **changes})
