"""A small model of the report's kind, and batches for it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bevdiag.config.model_settings import DataSettings, ModelSettings
from bevdiag.models.builder import OneStageDetector, build_detector
from bevdiag.models.contracts import Batch
from bevdiag.sparse import namespace

POINT_RANGE = (0.0, -2.0, -1.0, 3.2, 2.0, 1.0)
VOXEL_SIZE = (0.1, 0.25, 0.2)
GRID = (32, 16, 10)


def model_settings(
    *,
    grid: tuple[int, int, int] = GRID,
    set_size: int = 6,
    blocks: int = 1,
    full_width: bool = False,
    bev: dict[str, Any] | None = None,
    focal: dict[str, Any] | None = None,
    dsvt: dict[str, Any] | None = None,
    inputs: dict[str, Any] | None = None,
) -> ModelSettings:
    """The report's model on a small grid; its 2D part is narrow unless `full_width`."""
    geometry = {"VOXEL_SIZE": VOXEL_SIZE, "POINT_CLOUD_RANGE": POINT_RANGE}
    stages = dsvt.get("stages", 1) if dsvt else 1
    overrides = {k: v for k, v in (dsvt or {}).items() if k != "stages"}
    channels = [128] * stages
    sets = [[set_size, blocks]] * stages
    return ModelSettings.model_validate(
        {
            "NAME": "CenterPoint",
            "VFE": {"NAME": "SDAVFE", "NUM_FILTERS": [64, 64], **geometry},
            "BACKBONE_3D": {
                "NAME": "FocalDSVT",
                "FOCAL_ENCODER": {"NAME": "FocalSparseEncoder", **geometry, **(focal or {})},
                "DSVT": {
                    "NAME": "DSVT",
                    "INPUT_LAYER": {
                        "sparse_shape": grid,
                        "downsample_stride": [],
                        "d_model": channels,
                        "set_info": sets,
                        "window_shape": [[8, 8, 5]] * stages,
                        "hybrid_factor": [1, 1, 1],
                        "shifts_list": [[[0, 0, 0], [4, 4, 2]]] * stages,
                        **(inputs or {}),
                    },
                    "block_name": ["DSVTBlock"] * stages,
                    "set_info": sets,
                    "d_model": channels,
                    "nhead": [8] * stages,
                    "dim_feedforward": [256] * stages,
                    "output_shape": grid[:2],
                    "conv_out_channel": 128,
                    **overrides,
                },
            },
            "MAP_TO_BEV": bev
            or {"NAME": "SparseHeightCompression", "NUM_BEV_FEATURES": 128, "MODE": "max"},
            "BACKBONE_2D": {
                "NAME": "BaseBEVBackbone",
                "LAYER_NUMS": [5, 5] if full_width else [1, 0],
                "LAYER_STRIDES": [1, 2],
                "NUM_FILTERS": [128, 256] if full_width else [8, 8],
                "UPSAMPLE_STRIDES": [1, 2],
                "NUM_UPSAMPLE_FILTERS": [256, 256] if full_width else [8, 8],
            },
            "DENSE_HEAD": {
                "NAME": "CenterHead",
                "CLASS_NAMES_EACH_HEAD": [["Box", "Diver"]],
                "USE_BIAS_BEFORE_NORM": True,
                "SHARED_CONV_CHANNEL": 64 if full_width else 8,
                "SEPARATE_HEAD_CFG": {
                    "HEAD_ORDER": ["center", "center_z", "dim", "rot"],
                    "HEAD_DICT": {
                        "center": {"out_channels": 2, "num_conv": 2},
                        "center_z": {"out_channels": 1, "num_conv": 2},
                        "dim": {"out_channels": 3, "num_conv": 2},
                        "rot": {"out_channels": 2, "num_conv": 2},
                    },
                },
                "TARGET_ASSIGNER_CONFIG": {"FEATURE_MAP_STRIDE": 1, "NUM_MAX_OBJS": 20},
                "LOSS_CONFIG": {"LOSS_WEIGHTS": {"loc_weight": 0.25, "code_weights": [1.0] * 8}},
            },
        }
    )


def data_settings(grid: tuple[int, int, int] = GRID) -> DataSettings:
    """What goes with `model_settings`."""
    return DataSettings(
        point_cloud_range=POINT_RANGE,
        voxel_size=VOXEL_SIZE,
        grid_size=grid,
        max_points_per_voxel=4,
        max_voxels=1000,
        point_features=("x", "y", "z", "intensity"),
    )


def make_batch(
    *, num_voxels: int = 60, batch_size: int = 2, seed: int = 0, device: str = "cpu"
) -> Batch:
    """Random voxels of up to 4 points and three boxes a sample (one of them padding)."""
    rng = np.random.default_rng(seed)
    x, y, z = GRID
    cells = [rng.choice(x * y * z, num_voxels, replace=False) for _ in range(batch_size)]
    coords = np.concatenate(
        [
            np.stack([np.full(num_voxels, b), c // (x * y), c // x % y, c % x], axis=1)
            for b, c in enumerate(cells)
        ]
    )
    count = rng.integers(1, 5, len(coords))
    low, size = np.array(POINT_RANGE[:3]), np.array(VOXEL_SIZE)
    xyz = low + (coords[:, None, :0:-1] + rng.random((len(coords), 4, 3))) * size
    points = np.concatenate([xyz, rng.random((len(coords), 4, 1))], axis=-1)
    points[np.arange(4) >= count[:, None]] = 0
    boxes = np.zeros((batch_size, 3, 8), np.float32)
    boxes[:, :2, 0] = rng.uniform(0.5, 2.5, (batch_size, 2))
    boxes[:, :2, 1:3] = rng.uniform(-0.5, 0.5, (batch_size, 2, 2))
    boxes[:, :2, 3:6] = rng.uniform(0.5, 1.5, (batch_size, 2, 3))
    boxes[:, :2, 6] = rng.uniform(-3, 3, (batch_size, 2))
    boxes[:, :2, 7] = (1, 2)
    return {
        "voxels": torch.tensor(points, dtype=torch.float32).to(device),
        "voxel_num_points": torch.tensor(count, dtype=torch.float32).to(device),
        "voxel_coords": torch.tensor(coords, dtype=torch.float32),
        "batch_size": batch_size,
        "gt_boxes": torch.tensor(boxes).to(device),
        "gt_boxes_host": boxes,
    }


class MixedDevices(TorchDispatchMode):
    """Lets an operation mix real and meta tensors: the real ones lose their values first."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        flat = [t for a in args for t in (a if isinstance(a, (list, tuple)) else [a])]
        mixed = {t.device.type for t in flat if isinstance(t, torch.Tensor)} == {"cpu", "meta"}
        if mixed and not str(func).startswith(("aten.index.", "aten.index_put", "aten._index_put")):
            args = tuple(a.to("meta") if isinstance(a, torch.Tensor) else a for a in args)
        return func(*args, **(kwargs or {}))


def build(
    settings: ModelSettings, device: str = "cpu", *, seed: int = 0, data: DataSettings | None = None
) -> OneStageDetector:
    """A detector with the stub for spconv."""
    torch.manual_seed(seed)
    spconv = namespace(device)
    classes = ("Box", "Diver")
    return build_detector(settings, data or data_settings(), classes, spconv=spconv, device=device)


@dataclass(frozen=True)
class Small:
    """What the tests of models share."""

    grid = GRID
    model = staticmethod(model_settings)
    data = staticmethod(data_settings)
    batch = staticmethod(make_batch)
    build = staticmethod(build)
    mixed_devices = MixedDevices


@pytest.fixture
def small() -> Small:
    return Small()
