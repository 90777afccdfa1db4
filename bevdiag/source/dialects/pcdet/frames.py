"""Raw frames as the files of a data set would hold them: points, boxes, calibration, images.

The scene's points and boxes in the forms that loaders of the family read: one description of a
frame holds the entries of the public data sets' info files side by side, and a getter takes the
place of each method that would open a file.
"""

import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bevdiag.scenes import Batch
from bevdiag.source.settings import SourceSettings

IMAGE_SIZE = (375, 1242)
"""Height and width of KITTI's images, where no config says another size."""
CAMERAS = 6
"""Of a rig that looks all around."""
_FOCAL = (0.58, 0.5)
"""Focal lengths as shares of the image's width and height. Across: KITTI's 721 of 1242 pixels, 81
degrees of view. Upright: 90 degrees, more than any camera of KITTI has: a synthetic scene is made
with the points of a frame that was cut to its image, which a loader must not cut once more."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Frames:
    """The samples of a batch, as raw as files would hold them.

    Args:
        batch: whose points and boxes the frames hold.
        settings: the names of a point's columns in the batch, and of the classes by label.
        stored: of a point's columns in a file, those of the batch where none are given; those that
            the batch lacks are zero.
        columns: how many a file has; those beyond the stored ones hold 1 and 2 in turn.
    """

    def __init__(
        self,
        batch: Batch,
        settings: SourceSettings,
        stored: Sequence[str] = (),
        columns: int = 0,
    ) -> None:
        named = settings.point_features
        self.points = [
            _columns(batch.points[batch.points[:, 0] == i, 1:], named, stored or named, columns)
            for i in range(batch.batch_size)
        ]
        beyond = (0, 0), (0, settings.box_size - 7)
        self.boxes = [np.pad(b[:, :7], beyond).astype(np.float32) for b in batch.gt_boxes]
        self.names = [
            np.array([settings.class_names[int(label) - 1] for label in boxes[:, -1]])
            for boxes in batch.gt_boxes
        ]
        self.image_size = IMAGE_SIZE

    def __len__(self) -> int:
        return len(self.points)

    def raw(self, index: int) -> dict[str, Any]:
        """Make what a loader hands to `prepare_data`."""
        return {
            "points": self.points[index].copy(),
            "frame_id": f"{index:06d}",
            "gt_boxes": self.boxes[index].copy(),
            "gt_names": self.names[index].copy(),
        }

    def info(self, index: int, *, in_camera: bool) -> dict[str, Any]:
        """Make a frame's entry in an info file; boxes in the camera's frame if there is one."""
        boxes, names = self.boxes[index], self.names[index]
        count = len(boxes)
        located = _camera_boxes(boxes) if in_camera else boxes
        inside = np.full(count, 10)
        name = f"{index:06d}"
        point_cloud = {
            "lidar_idx": name,
            "lidar_sequence": "sequence",
            "sample_idx": index,
            "num_features": self.points[index].shape[1],
            "velodyne_path": f"velodyne/{name}.bin",
        }
        return {
            "point_cloud": point_cloud,
            "image": {"image_idx": name, "image_shape": np.array(self.image_size, np.int32)},
            "calib": self.calibration(),
            "annos": {
                "name": names,
                "location": located[:, :3],
                "dimensions": located[:, 3:6],
                "rotation_y": located[:, 6],
                "gt_boxes_lidar": boxes,
                "boxes_3d": boxes,
                "gt_boxes_upright_depth": boxes,
                # Where a camera's frame is, each entry is of one box a row: some are dropped.
                **({} if in_camera else {"gt_num": count, "axis_align_matrix": np.eye(4)}),
                "bbox": self._image_boxes(count),
                "difficulty": np.zeros(count, np.int32),
                "num_points_in_gt": inside,
                "truncated": np.zeros(count),
                "occluded": np.zeros(count),
                "score": np.ones(count),
                "obj_ids": np.array([f"object{i}" for i in range(count)]),
            },
            "frame_id": name,
            "sample_idx": name,
            "metadata": {"token": name},
            "token": name,
            "lidar_path": f"{name}.bin",
            "timestamp": 0.0,
            "sweeps": [],
            "cams": {},
            "pose": np.eye(4),
            "gt_boxes": boxes,
            "gt_names": names,
            "num_lidar_pts": inside,
            "num_radar_pts": inside,
        }

    def holders(self, index: int) -> Ints:
        """[N]: 1 + the box that a point of a frame lies in, as if none were turned; 0 in none."""
        points, held = self.points[index][:, None, :3], self.boxes[index]
        inside = (np.abs(points - held[:, :3]) <= held[:, 3:6] / 2).all(axis=-1)
        return np.where(inside.any(axis=1), 1 + inside.argmax(axis=1), 0)

    def calibration(self) -> dict[str, Floats]:
        """KITTI's matrices of a camera that looks along x: P2, R0 and Tr_velo2cam, and their like.

        A lidar's x, y, z are the camera's depth, minus right and minus down.
        """
        height, width = self.image_size
        across, upright = _FOCAL[0] * width, _FOCAL[1] * height
        projection = np.array(
            [[across, 0, width / 2, 0], [0, upright, height / 2, 0], [0, 0, 1, 0]], np.float32
        )
        to_camera = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]], np.float32)
        return {
            **dict.fromkeys(("P0", "P1", "P2", "P3"), projection),
            "R0": np.eye(3, dtype=np.float32),
            "R0_rect": np.eye(4, dtype=np.float32),
            "Tr_velo2cam": to_camera,
            "Tr_velo_to_cam": np.vstack([to_camera, [0, 0, 0, 1]]).astype(np.float32),
        }

    def _image_boxes(self, count: int) -> Floats:
        height, width = self.image_size
        box = (0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height)
        return np.tile(np.array(box, np.float32), (count, 1))


def answer_readers(dataset: Any, frames: Frames, index: int) -> None:
    """Put an answer of one frame in the place of each method that would open a file.

    The object gets them; its class keeps its own.
    """
    size = frames.image_size
    by_beginning: dict[str, Callable[[Any], Any]] = {
        "get_lidar": lambda _: frames.points[index].copy(),
        "get_points": lambda _: frames.points[index].copy(),
        "get_image_shape": lambda _: np.array(size, np.int32),
        "get_image": lambda _: np.full((*size, 3), 0.5, np.float32),
        "get_depth_map": lambda _: np.full(size, 10.0, np.float32),
    }
    by_name: dict[str, Callable[[Any], Any]] = {
        "get_instance_mask": lambda _: frames.holders(index),
        "get_semantic_mask": lambda _: frames.holders(index),
        "get_road_plane": lambda _: None,
        "get_calib": lambda method: calibration_of(method, frames),
    }
    for name, method in inspect.getmembers(type(dataset), callable):
        found = (answer for start, answer in by_beginning.items() if name.startswith(start))
        answer = by_name.get(name) or next(found, None)
        if answer is not None:
            dataset.__dict__[name] = _answering(answer, method)


def _answering(answer: Callable[[Any], Any], method: Any) -> Callable[..., Any]:
    return lambda *_, **__: answer(method)


def calibration_of(method: Any, frames: Frames) -> Any:
    """Make the repository's own object of what `method` reads, of matrices in place of a file."""
    matrices = frames.calibration()
    for value in getattr(method, "__globals__", {}).values():
        kind = value.__dict__.get("Calibration") if isinstance(value, ModuleType) else None
        if kind is not None:
            # What else it asks for (a client of a storage service) reads the file.
            _, *others = inspect.signature(kind).parameters.values()
            required = [other for other in others if other.default is other.empty]
            return kind(matrices, *(None for _ in required))
    return matrices


def _columns(points: Floats, named: Sequence[str], stored: Sequence[str], columns: int) -> Floats:
    raw = np.zeros((len(points), max(columns, len(stored))), np.float32)
    for column, name in enumerate(stored):
        if name in named:
            raw[:, column] = points[:, list(named).index(name)]
    for column in range(len(stored), raw.shape[1]):
        raw[:, column] = 1 + np.arange(len(raw)) % 2
    return raw


def _camera_boxes(boxes: Floats) -> Floats:
    """Centre of the bottom in the camera's frame; length, height, width; angle about its y."""
    x, y, z, dx, dy, dz, heading = boxes[:, :7].T
    return np.stack((-y, -(z - dz / 2), x, dx, dz, dy, -heading - np.pi / 2), axis=1)
