"""The batch dict of a traced step: features as meta tensors, coordinates with their values."""

from typing import Any

import numpy as np
import torch

from bevdiag.scenes.batch import Batch


def meta_batch(batch: Batch) -> dict[str, Any]:
    """Make what OpenPCDet's loader would have put on the GPU, for a model on the meta device.

    Everything is float32, as `load_data_to_gpu` makes it, the coordinates too; see models/batch.py
    for the keys. Points are [N, 1 + F] with the sample's index first; where the model groups them
    itself, which decides how many voxels there are, they keep their values.
    """
    tensors: dict[str, Any] = {
        "points": _points(batch),
        "gt_boxes": _shape_only(batch.gt_boxes.shape),
        "gt_boxes_host": batch.gt_boxes,
        "batch_size": batch.batch_size,
    }
    if batch.voxels is not None:
        coords = batch.voxel_coords()
        slots = batch.voxels[0].max_points
        num_features = batch.points.shape[1] - 1
        tensors["voxels"] = _shape_only((len(coords), slots, num_features))
        tensors["voxel_coords"] = torch.from_numpy(coords.astype(np.float32))
        tensors["voxel_num_points"] = _shape_only((len(coords),))
    return tensors


def _points(batch: Batch) -> torch.Tensor:
    if batch.voxels is not None:
        return _shape_only(batch.points.shape)
    return torch.from_numpy(batch.points)


def _shape_only(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float32, device="meta")
