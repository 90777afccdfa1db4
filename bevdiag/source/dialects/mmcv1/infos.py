"""Info files of public data sets, as the scripts of mmdetection3d 0.x wrote them, of a scene.

The data set's own class reads them, so that the queues of frames and the rest of what a plugin
does with a frame are its own. A frame has frames of the same scene before it, and the same files.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bevdiag.scenes import Batch
from bevdiag.source.dialects.mmcv1 import required
from bevdiag.source.dialects.mmengine.frames import Files
from bevdiag.source.failures import Remedy, stopped

Floats = NDArray[np.float32]
_FRAMES = 16
"""Of a sample, its own the last; no queue of a public config is longer."""
_SWEEPS = 10
_SECONDS = 0.5
"""Between two frames."""
_UPRIGHT = [1.0, 0.0, 0.0, 0.0]
"""No rotation, as a quaternion."""
_NO_PLACE = [0.0, 0.0, 0.0]
_CAN_BUS = 18
_MATRICES = 5
"""Of cameras, in the files of KITTI's kind."""
_CLOCK = 10**15
"""The first frame's time in microseconds."""


def write_scene(scene: Batch, dataset: Any, folder: Path) -> tuple[Any, list[int]]:
    """Write the files of a scene, and build the data set that reads them.

    Args:
        scene: a batch.
        dataset: the config of the data set.
        folder: gets the files.

    Returns:
        The data set, and the index of each sample of the batch in it.

    Raises:
        NoVerdictError: the data set reads files of another kind.
    """
    registry = _registry_of(dataset)
    kinds = [base.__name__ for base in class_of(dataset).__mro__]
    files = Files(scene, dataset, folder)
    file = folder / "infos.pkl"
    changed = {**dataset, "ann_file": str(file), "data_root": f"{folder}/"}
    if "load_interval" in dataset:  # the file has those frames alone that training takes
        changed["load_interval"] = 1
    dump = required("mmcv").dump
    if "NuScenesDataset" in kinds or "LyftDataset" in kinds:
        infos = _nuscenes(files)
        dump({"infos": infos, "metadata": {"version": "v1.0-trainval"}}, str(file))
        built = registry.build(changed)
        return built, [number for number in range(len(infos)) if number % _FRAMES == _FRAMES - 1]
    if "KittiDataset" in kinds:
        infos = [_kitti(files, index) for index in range(len(files))]
        dump(infos, str(file))
        built = registry.build(changed)
        for index in range(len(files)):
            path = Path(built._get_pts_filename(index))
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_points(index, path)
        return built, list(range(len(files)))
    raise stopped(
        f"{dataset['type']} reads files of a data set that bevdiag makes no samples of (of mmcv "
        "1.x, it does of nuScenes', Lyft's, KITTI's and Waymo's)",
        Remedy.ENTRY,
        "data.train",
    )


def _registry_of(dataset: Any) -> Any:
    """Return the registry that has a data set's class: mmdetection3d's own, or mmdet's."""
    own = required("mmdet3d.datasets").DATASETS
    return own if own.get(dataset["type"]) else required("mmdet.datasets").DATASETS


def class_of(dataset: Any) -> Any:
    """Return the class of a data set, by its name in the registry."""
    return _registry_of(dataset).get(dataset["type"])


# -- nuScenes --------------------------------------------------------------------------------------


def _nuscenes(files: Files) -> list[dict[str, Any]]:
    cameras = {name: _camera(files, number) for number, name in enumerate(files.rig.names)}
    empty = files.folder / "empty.bin"
    empty.touch()
    # The scene's points are those of all sweeps together. Cameras' sweeps are in the same list, and
    # a frame without any begins a scene.
    sweep = {**_place(), "data_path": str(empty), "timestamp": _CLOCK, **cameras}
    infos: list[dict[str, Any]] = []
    for index in range(len(files)):
        path = files.folder / f"{index}.bin"
        files.write_points(index, path)
        labelled = _labels(files, index)
        before = None
        for frame in range(_FRAMES):
            number = index * _FRAMES + frame
            info = {
                **_place(),
                **labelled,
                "lidar_path": str(path),
                "token": str(number),
                "scene_token": f"scene {index}",
                "scene_name": f"scene-{index:04d}",
                "lidar_token": f"lidar {number}",
                "frame_idx": frame,
                "sweeps": [sweep] * _SWEEPS if frame else [],
                "cams": cameras,
                "timestamp": _CLOCK + int(number * _SECONDS * 1e6),
                "can_bus": np.zeros(_CAN_BUS),
                "velo": np.zeros(2),
                # What a plugin needs of the frame before is in it; none has another one behind.
                "prev": before,
                "next": None,
            }
            infos.append(info)
            before = {**info, "prev": None}
    return infos


def _place() -> dict[str, Any]:
    """Where a sensor is that looks from the lidar's place, and the lidar: nowhere else."""
    return {
        **{f"{kind}2ego_rotation": _UPRIGHT for kind in ("lidar", "sensor")},
        **{f"{kind}2ego_translation": _NO_PLACE for kind in ("lidar", "sensor")},
        "ego2global_rotation": _UPRIGHT,
        "ego2global_translation": _NO_PLACE,
        "sensor2lidar_rotation": np.eye(3),
        "sensor2lidar_translation": np.zeros(3),
    }


def _camera(files: Files, number: int) -> dict[str, Any]:
    rig = files.rig
    turned = np.linalg.inv(rig.to_camera(number))[:3, :3]
    return {
        **_place(),
        "sensor2lidar_rotation": turned,
        "sensor2ego_rotation": _quaternion(turned),
        "data_path": str(files.image_file(number)),
        "type": rig.names[number],
        "sample_data_token": rig.names[number],
        "timestamp": _CLOCK,
        "cam_intrinsic": rig.intrinsics()[:3, :3],
        "intrinsics": rig.intrinsics(),
        "extrinsics": rig.to_camera(number),
        "lidar2img": rig.intrinsics() @ rig.to_camera(number),
    }


def _quaternion(turned: Floats) -> list[float]:
    """Return a rotation [3, 3] as w, x, y, z: the eigenvector that Bar-Itzhack's matrix has."""
    m = np.asarray(turned, np.float64)
    sums, differences = m + m.T, m.T - m
    matrix = np.empty((4, 4))
    matrix[:3, :3] = sums - np.eye(3) * np.trace(m)
    matrix[np.diag_indices(3)] = 2 * np.diag(m) - np.trace(m)
    matrix[3, :3] = matrix[:3, 3] = differences[1, 2], differences[2, 0], differences[0, 1]
    matrix[3, 3] = np.trace(m)
    x, y, z, w = np.linalg.eigh(matrix)[1][:, -1]
    return [float(w), float(x), float(y), float(z)]


def _labels(files: Files, index: int) -> dict[str, Any]:
    """Boxes in the frame of the lidar, and in the images of all cameras."""
    boxes, labels, names = _named(files, index)
    turned = boxes.copy()
    # Before 1.0 a box is x, y, z, width, length, height and a yaw from the y axis.
    if str(required("mmdet3d").__version__).startswith("0."):
        turned[:, [3, 4]] = boxes[:, [4, 3]]
        turned[:, 6] = -boxes[:, 6] - np.pi / 2
    rig = files.rig
    views = [rig.view_of(boxes, camera) for camera in range(len(rig.names))]
    return {
        "gt_boxes": turned,
        "gt_names": names,
        "gt_velocity": np.zeros((len(boxes), 2), np.float32),
        "num_lidar_pts": np.full(len(boxes), 10),
        "num_radar_pts": np.full(len(boxes), 1),
        "valid_flag": np.ones(len(boxes), bool),
        "bboxes2d": [view.flat[view.in_front] for view in views],
        "bboxes3d_cams": [boxes[view.in_front] for view in views],
        "labels2d": [labels[view.in_front] for view in views],
        "centers2d": [view.centres[view.in_front] for view in views],
        "depths": [view.depths[view.in_front] for view in views],
        "bboxes_ignore": [np.zeros((0, 4), np.float32) for _ in views],
    }


def _named(files: Files, index: int) -> tuple[Floats, NDArray[np.int64], NDArray[Any]]:
    """Boxes [M, 7] about their centres, their classes and the names of those."""
    labelled = np.asarray(files.scene.gt_boxes[index], np.float32)
    labelled = labelled[labelled[:, -1] > 0]
    labels, dataset = labelled[:, -1].astype(np.int64) - 1, files.dataset
    names = np.array(list(class_of(dataset).get_classes(dataset.get("classes"))))
    return labelled[:, :7], labels, names[labels]


# -- KITTI and Waymo -------------------------------------------------------------------------------


def _kitti(files: Files, index: int) -> dict[str, Any]:
    (boxes, _, names), rig = _named(files, index), files.rig
    pose, view = rig.to_camera(0), rig.view_of(boxes, 0)
    bottoms = boxes[:, :3] - np.c_[np.zeros((len(boxes), 2)), boxes[:, 5] / 2]
    located = np.c_[bottoms, np.ones(len(boxes))] @ pose.T
    return {
        "image": {
            "image_idx": index,
            "image_path": files.image_file(0).name,
            "image_shape": np.array(rig.size),
        },
        "point_cloud": {"num_features": 4, "velodyne_path": "", "lidar_idx": index},
        "pose": np.eye(4),
        "timestamp": _CLOCK + index,
        "sweeps": [],
        "calib": {
            "R0_rect": np.eye(4),
            "Tr_velo_to_cam": pose,
            **{f"P{camera}": rig.intrinsics() for camera in range(_MATRICES)},
        },
        "annos": {
            "name": names,
            "location": located[:, :3],
            "dimensions": boxes[:, [3, 5, 4]],
            "rotation_y": -boxes[:, 6] - np.pi / 2,
            "bbox": view.flat,
            "difficulty": np.zeros(len(boxes), np.int64),
            "num_points_in_gt": np.full(len(boxes), 10),
        },
    }
