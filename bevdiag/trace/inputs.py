"""The batch dict of a step: of a traced one, features are meta tensors."""

from typing import Any

import numpy as np
import torch

from bevdiag.scenes.batch import Batch


def meta_batch(batch: Batch, *, labelled: bool = True) -> dict[str, Any]:
    """Make what OpenPCDet's loader would have put on the GPU, for a model on the meta device.

    Everything is float32, as `load_data_to_gpu` makes it, the coordinates too; see contracts.py
    for the keys. Points are [N, 1 + F] with the sample's index first; where the model groups them
    itself, which decides how many voxels there are, they keep their values. An evaluation's batch
    is not `labelled`: it has no boxes.
    """
    tensors: dict[str, Any] = {
        "points": torch.from_numpy(batch.points),
        "batch_size": batch.batch_size,
    }
    if labelled:
        tensors["gt_boxes"] = _shape_only(batch.gt_boxes.shape)
        tensors["gt_boxes_host"] = batch.gt_boxes
    if batch.voxels is not None:
        tensors["points"] = _shape_only(batch.points.shape)
        coords = batch.voxel_coords()
        slots = batch.voxels[0].max_points
        num_features = batch.points.shape[1] - 1
        tensors["voxels"] = _shape_only((len(coords), slots, num_features))
        tensors["voxel_coords"] = torch.from_numpy(coords.astype(np.float32))
        tensors["voxel_num_points"] = _shape_only((len(coords),))
    return tensors


def real_batch(batch: Batch, device: torch.device | str) -> dict[str, Any]:
    """Make what OpenPCDet's loader would put on a device: float32, coordinates too."""

    def load(array: Any) -> torch.Tensor:
        return torch.from_numpy(array).float().to(device)

    tensors: dict[str, Any] = {
        "points": load(batch.points),
        "gt_boxes": load(batch.gt_boxes),
        "gt_boxes_host": batch.gt_boxes,
        "batch_size": batch.batch_size,
    }
    if batch.voxels is not None:
        tensors["voxels"] = load(batch.padded_voxels())
        tensors["voxel_coords"] = load(batch.voxel_coords())
        tensors["voxel_num_points"] = load(batch.voxel_num_points())
    return tensors


def _shape_only(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float32, device="meta")
