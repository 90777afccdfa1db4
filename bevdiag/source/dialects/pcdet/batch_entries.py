"""Entries of a batch that the repository's own loading could not make, by the names they go by.

A rig of cameras looks all around from the lidar's place, with matrices that project the scene's
points into images of the size that the config names. Multi-frame refiners (MPPNet) train on the
boxes that a first detector kept in each frame of a sequence: here every ground-truth box has a few
boxes near it, the same in every frame.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bevdiag.scenes import Batch
from bevdiag.source.dialects.pcdet.frames import CAMERAS, Frames, calibration_of
from bevdiag.source.settings import SourceSettings

Floats = NDArray[np.float32]
Made = dict[str, Callable[[], Any]]
_MAP_BOUNDS = ("ybound", "xbound")
"""From, to and step in metres, of what draws a map's layers."""
_DEPTH = 10.0
"""Metres, of every pixel of a depth map."""
_PER_BOX = 4
"""Proposals of one ground-truth box, itself among them."""
_SHIFT = 0.15
"""Metres between them in x and y: each overlaps its box by more than half."""
_BOX_SIZE = 9
"""Centre, size, heading and velocity."""


def synthetic(key: str, batch: Batch, settings: SourceSettings, dataset: Any) -> Any:
    """Make an entry as `load_data_to_gpu` leaves it; None for an unknown name.

    Args:
        key: its name.
        batch: the scene, with the ground truth.
        settings: the config.
        dataset: the object that the model is built with.
    """
    config = getattr(dataset, "dataset_cfg", {})
    frames = Frames(batch, settings)
    reader = getattr(type(dataset), "get_calib", None)
    known = {**of_cameras(frames, config, reader), **_of_first_detector(batch, config)}
    return known[key]() if key in known else None


def of_cameras(frames: Frames, config: Any, reader: Any = None) -> Made:
    """Return what makes the entries that cameras stand behind.

    Args:
        frames: the scene's raw frames.
        config: the DATA_CONFIG section.
        reader: the method that reads the repository's own calibration object; None without one.
    """
    size, batch = frames.image_size, len(frames)
    final = ((config.get("CAMERA_CONFIG") or {}).get("IMAGE") or {}).get("FINAL_DIM")
    height, width = map(int, final or size)
    calibration = frames.calibration()
    to_camera = calibration["Tr_velo_to_cam"]
    views = [to_camera @ _turned(2 * np.pi * i / CAMERAS) for i in range(CAMERAS)]
    back = [np.linalg.inv(view) for view in views]
    intrinsics = np.eye(4, dtype=np.float32)
    intrinsics[0, 0] = intrinsics[1, 1] = width / 2  # 90 degrees: six of them overlap
    intrinsics[:2, 2] = width / 2, height / 2
    rig: dict[str, list[Any]] = {
        "camera_intrinsics": [intrinsics] * CAMERAS,
        "lidar2camera": views,
        "lidar2image": [intrinsics @ view for view in views],
        "lidar2image_aug": [intrinsics @ view for view in views],
        "camera2lidar": back,
        "camera2ego": back,
        "img_aug_matrix": [np.eye(4)] * CAMERAS,
    }

    def each(matrices: Any) -> torch.Tensor:
        """Return the matrices of a frame for every frame."""
        found = np.asarray(matrices, np.float32)
        return torch.from_numpy(np.tile(found, (batch, *[1] * found.ndim)))

    return {
        **{name: partial(each, matrices) for name, matrices in rig.items()},
        "camera_imgs": lambda: torch.rand(batch, CAMERAS, 3, height, width),
        "lidar_aug_matrix": lambda: each(np.eye(4)),
        "images": lambda: torch.rand(batch, 3, *size),
        "image_shape": lambda: torch.tensor([size] * batch, dtype=torch.int32),
        "depth_maps": lambda: torch.full((batch, *_depth_size(size, config)), _DEPTH),
        "trans_lidar_to_cam": lambda: each(to_camera),
        "trans_cam_to_img": lambda: each(calibration["P2"]),
        "gt_boxes2d": lambda: torch.from_numpy(
            np.stack([frames.info(i, in_camera=True)["annos"]["bbox"] for i in range(batch)])
        ),
        "calib": lambda: reader and [calibration_of(reader, frames) for _ in range(batch)],
        "ori_shape": lambda: np.array([[width, height]] * batch),
        "image_paths": lambda: [["image"] * CAMERAS] * batch,
        "metadata": lambda: np.array([{"token": str(i)} for i in range(batch)]),
        "gt_masks_bev": lambda: _map(batch, config),
    }


def _map(batch: int, config: Any) -> torch.Tensor | None:
    """Return masks [B, classes, rows, columns] of a map's layers; None without their bounds."""
    for entry in config.get("DATA_PROCESSOR") or []:
        bounds, layers = [entry.get(key) for key in _MAP_BOUNDS], entry.get("classes")
        if all(bounds) and layers:
            cells = [int((high - low) / step) for low, high, step in bounds]
            return torch.zeros(batch, len(layers), *cells)
    return None


def _depth_size(size: tuple[int, int], config: Any) -> list[int]:
    """Of the depth maps, which a processor makes smaller than the images."""
    factor = 1
    for entry in config.get("DATA_PROCESSOR") or []:
        factor = int(entry.get("DOWNSAMPLE_FACTOR", factor))
    return [-(-n // factor) for n in size]


def _turned(angle: float) -> Floats:
    """Return a rotation about z, 4 x 4."""
    turned = np.eye(4, dtype=np.float32)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turned


def _of_first_detector(batch: Batch, config: Any) -> Made:
    """Return what makes the entries that a first detector's boxes stand behind.

    Boxes are [B, frames, proposals, 9], scores and labels [B, frames, proposals], poses
    [B, 4 * frames, 4].
    """
    first, last = (config.get("SEQUENCE_CONFIG") or {}).get("SAMPLE_OFFSET") or (0, 0)
    num_frames = int(last) - int(first) + 1
    truth = batch.gt_boxes
    labels = np.repeat(truth[..., -1], _PER_BOX, axis=1)
    boxes = np.zeros((*labels.shape, _BOX_SIZE), np.float32)
    boxes[..., :7] = np.repeat(truth[..., :7], _PER_BOX, axis=1)
    boxes[..., :2] += _SHIFT * np.tile(np.arange(_PER_BOX), truth.shape[1])[:, None]
    batch_size, count = labels.shape
    scores = np.broadcast_to(np.linspace(0.9, 0.3, count, dtype=np.float32), labels.shape)

    def in_every_frame(values: NDArray[Any]) -> torch.Tensor:
        repeated = np.repeat(values[:, None], num_frames, axis=1)
        return torch.from_numpy(repeated.astype(np.float32))

    return {
        "roi_boxes": lambda: in_every_frame(boxes),
        "roi_scores": lambda: in_every_frame(scores),
        "roi_labels": lambda: in_every_frame(labels),
        "poses": lambda: torch.eye(4).repeat(batch_size, num_frames, 1),
        "sample_idx": lambda: np.zeros(batch_size, np.int64),
    }
