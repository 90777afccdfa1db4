"""As much of a dataset as a detector asks for when it is built, and a batch as it would load it."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from bevdiag.scenes import Batch
from bevdiag.source.dialects.protocol import NotInBatchError
from bevdiag.source.settings import SourceSettings
from bevdiag.source.stubs.packages import EasyDict
from bevdiag.trace.places import user_place
from bevdiag.trace.wiring_batch import WatchedBatch


class FakeDataset:
    """The attributes of pcdet's DatasetTemplate that models read."""

    def __init__(self, settings: SourceSettings, config: EasyDict) -> None:
        self.dataset_cfg = config.DATA_CONFIG
        self.training = True
        self.class_names = list(settings.class_names)
        self.point_cloud_range = np.array(settings.point_cloud_range, dtype=np.float32)
        names = list(settings.point_features)
        self.point_feature_encoder = SimpleNamespace(
            used_feature_list=names, src_feature_list=names, num_point_features=len(names)
        )
        self.grid_size = (
            None if settings.grid_size is None else np.array(settings.grid_size, dtype=np.int64)
        )
        self.voxel_size = None if settings.voxel_size is None else list(settings.voxel_size)
        self.depth_downsample_factor = settings.depth_downsample_factor


class LoadedBatch(WatchedBatch):
    """The batch dict of one step; what is not in it is reported in bevdiag's words."""

    def __missing__(self, key: str) -> Any:
        raise NotInBatchError(
            key,
            f"{user_place(sys._getframe(2))}: the model reads {key!r} from its batch",
        )


def source_batch(
    batch: Batch, settings: SourceSettings, *, with_voxels: bool = False
) -> dict[str, Any]:
    """Make the batch dict: points, coordinates and boxes that have values, and meta voxels.

    `with_voxels` gives the voxels their values too.

    All tensors are float32, as `load_data_to_gpu` makes them.
    """
    points = batch.points
    if settings.num_sampled_points is not None:
        points = _sampled(points, batch.batch_size, settings.num_sampled_points)
    tensors: dict[str, Any] = {"points": _values(points)}
    if settings.max_points is not None:
        shape = (batch.num_voxels, settings.max_points, points.shape[1] - 1)
        tensors["voxels"] = (
            _values(batch.padded_voxels()) if with_voxels else torch.empty(shape, device="meta")
        )
        tensors["voxel_coords"] = _values(batch.voxel_coords())
        tensors["voxel_num_points"] = _values(batch.voxel_num_points())
    tensors["gt_boxes"] = _values(_boxes(batch.gt_boxes, settings.box_size))
    tensors["batch_size"] = batch.batch_size
    tensors["frame_id"] = np.array([str(i) for i in range(batch.batch_size)])
    tensors["use_lead_xyz"] = True
    return tensors


def _values(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))


def _boxes(boxes: Any, size: int) -> Any:
    """[B, boxes, 8] with columns of zeros before the class for what goes beyond the heading."""
    extra = np.zeros((*boxes.shape[:2], size - 7), dtype=boxes.dtype)
    return np.concatenate((boxes[..., :7], extra, boxes[..., 7:]), axis=-1)


def _sampled(points: Any, batch_size: int, count: int) -> Any:
    """Every sample with exactly `count` points: cut, or repeated from the start."""
    of_sample = points[:, 0]
    samples = [points[of_sample == sample] for sample in range(batch_size)]
    return np.concatenate([np.resize(sample, (count, points.shape[1])) for sample in samples])
