"""What cameras add to a batch, where the repository's own loading could not make it.

A rig of cameras that looks all around from the lidar's place, with matrices that project the
scene's points into images of the size that the config names.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bevdiag.source.dialects.pcdet.frames import CAMERAS, Frames

Floats = NDArray[np.float32]
_MAP_BOUNDS = ("ybound", "xbound")
"""From, to and step in metres, of what draws a map's layers."""
_DEPTH = 10.0
"""Metres, of every pixel of a depth map."""


class Cameras:
    """Makes the entries of a batch that cameras stand behind, by their names in this family.

    Args:
        frames: the scene's raw frames.
        config: the DATA_CONFIG section.
        calibrated: makes the repository's own calibration object; None without one.
    """

    def __init__(
        self, frames: Frames, config: Any, calibrated: Callable[[], Any] | None = None
    ) -> None:
        self._frames = frames
        self._config = config
        self._calibrated = calibrated
        rig = config.get("CAMERA_CONFIG") or {}
        final = (rig.get("IMAGE") or {}).get("FINAL_DIM")
        self._rig_size = tuple(int(n) for n in final) if final else None

    def make(self, key: str) -> Any:
        """Make the entry, as a tensor or as `load_data_to_gpu` leaves it; None if unknown."""
        size, batch = self._frames.image_size, len(self._frames)
        height, width = self._rig_size or size
        rig = self._rig_of(key, height, width)
        if rig is not None:
            return torch.from_numpy(np.tile(rig, (batch, 1, 1, 1)))
        calibration = self._frames.calibration()
        made: dict[str, Callable[[], Any]] = {
            "camera_imgs": lambda: torch.rand(batch, CAMERAS, 3, height, width),
            "lidar_aug_matrix": lambda: _matrices(np.eye(4), batch),
            "images": lambda: torch.rand(batch, 3, *size),
            "image_shape": lambda: torch.tensor([size] * batch, dtype=torch.int32),
            "depth_maps": lambda: torch.full((batch, *self._depth_size()), _DEPTH),
            "trans_lidar_to_cam": lambda: _matrices(calibration["Tr_velo_to_cam"], batch),
            "trans_cam_to_img": lambda: _matrices(calibration["P2"], batch),
            "gt_boxes2d": lambda: torch.from_numpy(
                np.stack(
                    [self._frames.info(i, in_camera=True)["annos"]["bbox"] for i in range(batch)]
                )
            ),
            "calib": lambda: (
                [self._calibrated() for _ in range(batch)] if self._calibrated else None
            ),
            "ori_shape": lambda: np.array([[width, height]] * batch),
            "image_paths": lambda: [["image"] * CAMERAS] * batch,
            "metadata": lambda: np.array([{"token": str(i)} for i in range(batch)]),
            "gt_masks_bev": self._map,
        }
        return made[key]() if key in made else None

    def _map(self) -> torch.Tensor | None:
        """Return masks [B, classes, rows, columns] of a map's layers; None without their bounds."""
        for entry in self._config.get("DATA_PROCESSOR") or []:
            bounds, layers = [entry.get(key) for key in _MAP_BOUNDS], entry.get("classes")
            if all(bounds) and layers:
                cells = [int((high - low) / step) for low, high, step in bounds]
                return torch.zeros(len(self._frames), len(layers), *cells)
        return None

    def _depth_size(self) -> tuple[int, ...]:
        """Of the depth maps, which a processor makes smaller than the images."""
        factor = 1
        for entry in self._config.get("DATA_PROCESSOR") or []:
            factor = int(entry.get("DOWNSAMPLE_FACTOR", factor))
        return tuple(-(-n // factor) for n in self._frames.image_size)

    def _rig_of(self, key: str, height: int, width: int) -> Floats | None:
        """Matrices [cameras, 4, 4] by their names; None for anything else."""
        intrinsics = np.eye(4, dtype=np.float32)
        intrinsics[0, 0] = intrinsics[1, 1] = width / 2  # 90 degrees: six of them overlap
        intrinsics[:2, 2] = width / 2, height / 2
        to_camera = self._frames.calibration()["Tr_velo_to_cam"]
        views = [to_camera @ _turned(2 * np.pi * i / CAMERAS) for i in range(CAMERAS)]
        back = [np.linalg.inv(view) for view in views]
        rig: dict[str, list[Any]] = {
            "camera_intrinsics": [intrinsics] * CAMERAS,
            "lidar2camera": views,
            "lidar2image": [intrinsics @ view for view in views],
            "lidar2image_aug": [intrinsics @ view for view in views],
            "camera2lidar": back,
            "camera2ego": back,
            "img_aug_matrix": [np.eye(4)] * CAMERAS,
        }
        return np.stack(rig[key]).astype(np.float32) if key in rig else None


def _matrices(matrix: Any, batch: int) -> torch.Tensor:
    return torch.from_numpy(np.tile(np.asarray(matrix, np.float32), (batch, 1, 1)))


def _turned(angle: float) -> Floats:
    """Return a rotation about z, 4 x 4."""
    turned = np.eye(4, dtype=np.float32)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turned
