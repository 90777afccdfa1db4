"""What happens to a frame once its files are read."""

from collections import Sequence  # noqa: UP035 (what Python before 3.10 had)

import numba
import numpy as np
from det3d.builder import build_dbsampler


@numba.jit(nopython=True)
def voxelized(points, bounds, size, most, of_voxel):
    voxels = np.zeros((most, of_voxel, points.shape[1]), np.float32)
    coordinates, counts, found = np.zeros((most, 3), np.int32), np.zeros(most, np.int32), {}
    for point in points:
        cell = tuple(np.floor((point[:3] - bounds[:3]) / size).astype(np.int32)[::-1])
        if (point[:3] < bounds[:3]).any() or (point[:3] >= bounds[3:]).any():
            continue
        index = found.setdefault(cell, len(found)) if cell in found or len(found) < most else None
        if index is not None and counts[index] < of_voxel:
            voxels[index, counts[index]] = point
            coordinates[index] = cell
            counts[index] += 1
    return voxels[: len(found)], coordinates[: len(found)], counts[: len(found)]


class Preprocess:
    def __init__(self, cfg):
        self.db_sampler = build_dbsampler(cfg.db_sampler)
        self.cfg = cfg

    def __call__(self, res, info):
        assert res["type"] == "NuScenesDataset"
        assert not self.db_sampler
        lidar, angle = res["lidar"], np.random.uniform(*self.cfg.global_rot_noise)
        points, scale = lidar["combined"], np.random.uniform(*self.cfg.global_scale_noise)
        turned = points[:, :2] @ [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        lidar["points"] = np.c_[turned * scale, points[:, 2:]].astype(np.float32)
        boxes, names = lidar["annotations"]["boxes"], lidar["annotations"]["names"]
        kept = [name in self.cfg.class_names for name in names]
        assert boxes.shape[1] == 9
        lidar["annotations"] = {"boxes": boxes[kept], "names": names[kept]}
        return res, info


class Voxelization:
    def __init__(self, cfg):
        self.cfg = cfg

    def __call__(self, res, info):
        cfg = self.cfg
        assert isinstance(cfg.max_voxel_num, Sequence)
        bounds, size = np.array(cfg.range), np.array(cfg.voxel_size)
        made = voxelized(
            res["lidar"]["points"], bounds, size, cfg.max_voxel_num[0], cfg.max_points_in_voxel
        )
        shape = np.round((bounds[3:] - bounds[:3]) / size).astype(np.int64)
        res["lidar"]["voxels"] = (*made, shape)
        return res, info


class Reformat:
    def __init__(self):
        pass

    def __call__(self, res, info):
        voxels, coordinates, num_points, shape = res["lidar"]["voxels"]
        heat = np.zeros((1, shape[1], shape[0]), np.float32)
        for x, y in res["lidar"]["annotations"]["boxes"][:, :2]:
            heat[0, int(y + 8) % shape[1], int(x + 8) % shape[0]] = 1
        return {
            "metadata": res["metadata"],
            "points": res["lidar"]["points"],
            "voxels": voxels,
            "shape": shape,
            "num_points": num_points,
            "coordinates": coordinates,
            "hm": [heat],
        }, info


class Compose:
    def __init__(self, transforms):
        kinds = {kind.__name__: kind for kind in (Preprocess, Voxelization, Reformat)}
        self.transforms = [
            kinds[step["type"]](**{key: step[key] for key in step if key != "type"})
            for step in transforms
        ]

    def __call__(self, res, info):
        for transform in self.transforms:
            res, info = transform(res, info)
        return res, info
