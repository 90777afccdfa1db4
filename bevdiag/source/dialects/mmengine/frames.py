"""A sample of a scene as mmdetection3d's data sets hand it to their pipelines, files included."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmengine import required
from bevdiag.source.dialects.python_configs import step_of
from bevdiag.source.stubs.rois import in_box_frames

Floats = NDArray[np.float32]
_DEPTH_AXIS = 2
_ABOVE = 0.4
"""Heights of a box from the point that it stands on to its centre: the point is inside."""
_MOST_LABELS = 1 << 16
_SMALLEST_DEPTH = 0.5
"""Metres before a camera, nearer than which a box is not in its image."""


@dataclass(frozen=True, slots=True)
class View:
    """Boxes as an image has them, those behind the camera included.

    Attributes:
        centres: pixels along the width and the height, [M, 2].
        depths: metres before the camera, [M].
        flat: x1, y1, x2, y2, [M, 4].
    """

    centres: Floats
    depths: Floats
    flat: Floats

    @property
    def in_front(self) -> NDArray[np.bool_]:
        """Whether each box is before the camera, [M]."""
        return self.depths > _SMALLEST_DEPTH


@dataclass(frozen=True, slots=True)
class Rig:
    """The cameras of a data set that looks around from the lidar's place.

    Attributes:
        names: of the cameras.
        size: height and width of an image.
        view: the angle that an image is wide, in radians.
        axes: rows and columns of a camera's matrix, as the data set keeps it.
    """

    names: tuple[str, ...]
    size: tuple[int, int]
    view: float
    axes: int = 4

    @classmethod
    def of(cls, dataset: Any) -> "Rig":
        """Return the cameras of a public data set, by the name of its class."""
        name = str(dataset["type"])
        found = next((rig for part, rig in _RIGS.items() if part in name), _RIGS["NuScenes"])
        if str(dataset.get("load_type", "frame_based")) != "frame_based":
            return replace(found, names=found.names[:1])
        return found

    def intrinsics(self) -> Floats:
        """Return a camera's matrix, 4 x 4."""
        height, width = self.size
        matrix = np.eye(4, dtype=np.float32)
        matrix[0, 0] = matrix[1, 1] = width / 2 / np.tan(self.view / 2)
        matrix[:2, 2] = width / 2, height / 2
        return matrix

    def to_camera(self, index: int) -> Floats:
        """From the lidar's frame to a camera's, 4 x 4: depth, minus right and minus down."""
        angle = 2 * np.pi * index / len(self.names)
        turned = np.eye(4, dtype=np.float32)
        turned[:2, :2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        axes = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float32)
        return axes @ turned

    def view_of(self, boxes: Floats, camera: int) -> View:
        """Return boxes [M, 7] in the lidar's frame as a camera sees them."""
        intrinsics = self.intrinsics()
        centres = np.c_[boxes[:, :3], np.ones(len(boxes))] @ self.to_camera(camera).T
        projected = centres @ intrinsics.T
        depths = centres[:, _DEPTH_AXIS].astype(np.float32)
        places = projected[:, :2] / np.maximum(projected[:, 2:3], _SMALLEST_DEPTH)
        height, width = self.size
        places = np.clip(places, 1, (width - 1, height - 1)).astype(np.float32)
        half = intrinsics[0, 0] * boxes[:, 3:6].max(axis=1, initial=0)[:, None] / 2
        half = half / np.maximum(depths, _SMALLEST_DEPTH)[:, None]
        flat = np.concatenate((places - half, places + half), axis=1)
        flat = np.clip(flat, 0, (width, height, width, height)).astype(np.float32)
        return View(places, depths, flat)


_AROUND = ("FRONT", "FRONT_LEFT", "BACK_LEFT", "BACK", "BACK_RIGHT", "FRONT_RIGHT")
_RIGS = {
    "Kitti": Rig(("CAM2",), (375, 1242), 1.42),
    "NuScenes": Rig(tuple(f"CAM_{name}" for name in _AROUND), (900, 1600), 1.22, 3),
    "SUNRGBD": Rig(("CAM0",), (530, 730), 1.21, 3),
    "Waymo": Rig(tuple(f"CAM_{name}" for name in _AROUND[:5]), (1280, 1920), 1.22),
}


def on_points(scene: Batch) -> Batch:
    """Put the boxes of a scene where it has points, as every labelled object of a data set is."""
    rng = np.random.default_rng(0)
    boxes = np.array(scene.gt_boxes)
    for index, mine in enumerate(boxes):
        cloud = scene.points[scene.points[:, 0] == index, 1:4]
        if len(cloud):
            mine[:, :3] = cloud[rng.integers(0, len(cloud), len(mine))]
            mine[:, 2] += _ABOVE * mine[:, 5]
    return replace(scene, gt_boxes=boxes)


@dataclass(frozen=True, slots=True)
class Files:
    """A scene as the files of a data set hold it.

    Attributes:
        scene: points and boxes.
        dataset: the data set's config.
        folder: gets the files.
    """

    scene: Batch
    dataset: Any
    folder: Path

    @property
    def rig(self) -> Rig:
        """The cameras of the data set."""
        return Rig.of(self.dataset)

    def __len__(self) -> int:
        return self.scene.batch_size

    def cloud(self, index: int) -> Floats:
        """Return a sample's points, [N, 3 or more]."""
        return self.scene.points[self.scene.points[:, 0] == index, 1:]

    def write_points(self, index: int, path: Path) -> int:
        """Write a sample's points with as many columns as the pipeline loads; return how many."""
        cloud = self.cloud(index)
        load = step_of(self.dataset["pipeline"], "LoadPointsFromFile")
        columns = max(int(load.get("load_dim", cloud.shape[1])), cloud.shape[1])
        stored = np.zeros((len(cloud), columns), np.float32)
        stored[:, : cloud.shape[1]] = cloud
        stored.tofile(path)
        return columns

    def image_file(self, camera: int) -> Path:
        """Return the file of a camera's image; a first call writes it."""
        path = self.folder / f"camera{camera}.png"
        if not path.is_file():
            image = np.full((*self.rig.size, 3), 127, np.uint8)
            required("mmcv").imwrite(image, str(path))
        return path


class Frames(Files):
    """The data set as transforms know it that mix a frame with another one of it."""

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Make what the data set's `parse_data_info` would make of a frame."""
        structures, rig = required("mmdet3d.structures"), self.rig
        kinds = {"LIDAR": "LiDAR", "CAMERA": "Camera", "DEPTH": "Depth"}
        written = str(self.dataset.get("box_type_3d", "LiDAR")).upper()
        kind = kinds[written]
        path = self.folder / f"{index}.bin"
        columns = self.write_points(index, path)
        images = {name: self._image(camera) for camera, name in enumerate(rig.names)}
        first = images[rig.names[0]]
        points = {
            "lidar_path": str(path),
            "num_pts_feats": columns,
            "lidar2ego": np.eye(4).tolist(),
            "Tr_velo_to_cam": first["lidar2cam"],
        }
        return {
            "sample_idx": index,
            "token": str(index),
            "scene_token": "scene",
            "timestamp": 0.0,
            "ego2global": np.eye(4).tolist(),
            "lidar_points": points,
            "lidar_path": str(path),
            "lidar_sweeps": [],
            "images": images,
            **({} if len(images) > 1 else {"img_path": first["img_path"]}),
            "depth2img": np.array(first["lidar2img"], np.float32)[: rig.axes, : rig.axes],
            "axis_align_matrix": np.eye(4, dtype=np.float32),
            "plane": None,
            **self.masks(index),
            "ann_info": self._annotations(index, kind, structures),
            "box_type_3d": getattr(structures, f"{kind}Instance3DBoxes"),
            "box_mode_3d": getattr(structures.Box3DMode, "CAM" if kind == "Camera" else written),
            **{f"{part}_fields": [] for part in ("bbox", "bbox3d", "pts_mask", "pts_seg", "mask")},
            "seg_fields": [],
            "img_fields": [],
        }

    def masks(self, index: int) -> dict[str, Any]:
        """Files of a class and an instance for each point; points in no box are of a further one.

        Labels are numbered as training numbers them: each maps to itself.
        """
        cloud = self.cloud(index)[:, :3]
        boxes = np.asarray(self.scene.gt_boxes[index], np.float32)
        named = (self.dataset.get("metainfo") or {}).get("classes") or ()
        instance, other = np.full(len(cloud), len(boxes)), boxes[:, -1].max(initial=len(named))
        for number, inside in enumerate(np.abs(in_box_frames(boxes[:, :7], cloud))):
            instance[(inside <= boxes[number, 3:6] / 2).all(axis=-1)] = number
        semantic = np.append(boxes[:, -1] - 1, other).astype(np.int64)[instance]
        load = step_of(self.dataset.pipeline, "LoadAnnotations3D")
        dtype = np.dtype(str(load.get("seg_3d_dtype", "np.int64")).removeprefix("np."))
        paths = {}
        for name, labels in (("semantic", semantic), ("instance", instance)):
            paths[name] = str(self.folder / f"{index}.{name}")
            labels.astype(dtype).tofile(paths[name])
        return {
            **{f"pts_{name}_mask_path": path for name, path in paths.items()},
            "pts_panoptic_mask_path": paths["semantic"],
            "seg_label_mapping": np.arange(_MOST_LABELS),
        }

    def _image(self, camera: int) -> dict[str, Any]:
        rig = self.rig
        height, width = rig.size
        intrinsics, pose = rig.intrinsics(), rig.to_camera(camera)
        return {
            "img_path": str(self.image_file(camera)),
            "height": height,
            "width": width,
            "cam2img": intrinsics[: rig.axes, : rig.axes].tolist(),
            "lidar2cam": pose.tolist(),
            "lidar2img": (intrinsics @ pose).tolist(),
            "cam2ego": np.linalg.inv(pose).tolist(),
            "sample_data_token": f"camera{camera}",
            "timestamp": 0.0,
        }

    def _annotations(self, index: int, kind: str, structures: Any) -> dict[str, Any]:
        """Boxes in the frame that the data set keeps them in, and where they are in the image."""
        labelled = np.asarray(self.scene.gt_boxes[index], np.float32)
        labels = labelled[:, -1].astype(np.int64) - 1
        boxes, rig = labelled[:, :7], self.rig
        view = rig.view_of(boxes, 0)
        if kind == "Camera":
            seen = view.in_front
            boxes, labels = boxes[seen], labels[seen]
            view = View(view.centres[seen], view.depths[seen], view.flat[seen])
        has_speeds = "NuScenes" in str(self.dataset["type"])
        speeds = 2 if has_speeds and self.dataset.get("with_velocity", True) else 0
        wide = np.zeros((len(boxes), 7 + speeds), np.float32)
        wide[:, :7] = boxes
        # Points and boxes of a room are in the same frame, whatever its axes are called.
        name = "Depth" if kind == "Depth" else "LiDAR"
        made = getattr(structures, f"{name}Instance3DBoxes")
        kept = made(wide, box_dim=7 + speeds, origin=(0.5, 0.5, 0.5))
        if kind == "Camera":
            kept = kept.convert_to(structures.Box3DMode.CAM, rig.to_camera(0))
        return {
            "gt_bboxes_3d": kept,
            "gt_labels_3d": labels,
            "gt_bboxes": view.flat,
            "gt_bboxes_labels": labels,
            "gt_names": labels,
            "attr_labels": np.zeros(len(labels), np.int64),
            "centers_2d": view.centres,
            "depths": view.depths,
            "axis_align_matrix": np.eye(4, dtype=np.float32),
            "difficulty": np.zeros(len(labels), np.int64),
            "num_lidar_pts": np.full(len(labels), 10),
        }
