"""As much of a dataset template as decides a batch: encoder, augmentor, processors, collation."""

from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
from spconv.utils import Point2VoxelCPU3d

from .augmentor import Augmentor


class Encoder:
    """Two values a stored one: the encoder makes eight of four."""

    def __init__(self, config):
        self.num_point_features = 2 * len(config.used_feature_list)

    def forward(self, data):
        data["points"] = np.concatenate((data["points"], data["points"]), axis=1)
        return data


class DatasetTemplate:
    def __init__(self, dataset_cfg=None, class_names=None, training=True, logger=None):
        self.dataset_cfg, self.class_names = dataset_cfg, class_names
        self.root_path = Path(dataset_cfg.DATA_PATH)
        self.point_feature_encoder = Encoder(dataset_cfg.POINT_FEATURE_ENCODING)
        self.data_augmentor = Augmentor(self.root_path, dataset_cfg.DATA_AUGMENTOR)
        bounds = np.array(dataset_cfg.POINT_CLOUD_RANGE)
        self.data_processor = []
        for entry in dataset_cfg.DATA_PROCESSOR:
            size = np.array(entry.VOXEL_SIZE)
            self.grid_size = np.round((bounds[3:] - bounds[:3]) / size).astype(int)
            self.voxel_size = entry.VOXEL_SIZE
            self.data_processor.append(partial(self.voxelize, entry=entry))

    def voxelize(self, data, entry):
        generator = Point2VoxelCPU3d(
            vsize_xyz=entry.VOXEL_SIZE,
            coors_range_xyz=self.dataset_cfg.POINT_CLOUD_RANGE,
            num_point_features=8,
            max_num_points_per_voxel=entry.MAX_POINTS_PER_VOXEL,
            max_num_voxels=entry.MAX_NUMBER_OF_VOXELS.train,
        )
        found = generator.point_to_voxel(data["points"])
        data["voxels"], data["voxel_coords"], data["voxel_num_points"] = (
            part.numpy() for part in found
        )
        return data

    def prepare_data(self, data_dict):
        data = self.point_feature_encoder.forward(self.data_augmentor.forward(data_dict))
        for processor in self.data_processor:
            data = processor(data)
        labels = [self.class_names.index(name) + 1 for name in data.pop("gt_names")]
        data["gt_boxes"] = np.c_[data["gt_boxes"], np.array(labels, dtype=np.float32)]
        return data

    @staticmethod
    def collate_batch(samples):
        gathered = defaultdict(list)
        for sample in samples:
            for key, value in sample.items():
                gathered[key].append(value)
        batch = {}
        for key, values in gathered.items():
            if key in ("points", "voxel_coords"):
                values = [
                    np.pad(v, ((0, 0), (1, 0)), constant_values=i) for i, v in enumerate(values)
                ]
            joined = key in ("points", "voxels", "voxel_coords", "voxel_num_points")
            batch[key] = np.concatenate(values) if joined else np.stack(values)
        batch["batch_size"] = len(samples)
        return batch
