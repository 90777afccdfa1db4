import numpy as np
import torch

from bevdiag.config.backbone_settings import (
    VoxelBackboneSettings,
    VoxelFocalBackboneSettings,
    VoxelResBackboneSettings,
)
from bevdiag.models.backbones_3d.voxel_backbone import (
    VoxelBackBone8x,
    VoxelBackBone8xFocal,
    VoxelResBackBone8x,
)
from bevdiag.sparse import namespace
from bevdiag.trace.kept_voxels import MODULES

GRID = (48, 32, 40)


MODULE_NAMES = [name.removeprefix("backbone_3d.") for name in MODULES]


KINDS = {
    "VoxelBackBone8x": (VoxelBackboneSettings, VoxelBackBone8x),
    "VoxelResBackBone8x": (VoxelResBackboneSettings, VoxelResBackBone8x),
    "VoxelBackBone8xFocal": (VoxelFocalBackboneSettings, VoxelBackBone8xFocal),
}


def build(name, device="cpu", in_channels=4, **keys):
    settings, module = KINDS[name]
    with torch.device(device):
        return module(
            settings.model_validate({"NAME": name, **keys}),
            in_channels,
            GRID,
            spconv=namespace(device),
        )


def coordinates():
    """Voxels of two samples, two thirds of them in clusters.

    None comes near the planes 0, where merging takes voxels of two rows for one, and which of them
    survives depends on the order of their scores.
    """
    rng = np.random.default_rng(0)
    x, y, z = GRID
    near = rng.integers([20, 14, 20], [26, 20, 26], (2, 200, 3))
    far = rng.integers(12, [z, y, x], (2, 100, 3))
    cells = [np.unique(np.concatenate(pair), axis=0) for pair in zip(near, far, strict=True)]
    samples = [np.insert(own, 0, sample, axis=1) for sample, own in enumerate(cells)]
    return np.concatenate(samples).astype(np.int32)


def make_batch(device):
    coords = coordinates()
    torch.manual_seed(1)
    boxes = torch.zeros(2, 2, 8)
    boxes[:, :, 3:6] = 3
    return {
        "voxel_features": torch.randn(len(coords), 4).to(device),
        "voxel_coords": torch.from_numpy(coords).float(),
        "gt_boxes": boxes.to(device),
        "batch_size": 2,
    }
