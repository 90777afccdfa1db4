"""nuScenes as mmdetection3d 0.x reads it: an info file, then a pipeline of functions."""

import mmcv
import numpy as np


class Registry:
    def __init__(self):
        self.kinds = {}

    def register(self, kind):
        self.kinds[kind.__name__] = kind
        return kind

    def get(self, name):
        return self.kinds[name]

    def build(self, config):
        settings = dict(config)
        return self.get(settings.pop("type"))(**settings)


DATASETS = Registry()
PIPELINES = Registry()


@DATASETS.register
class NuScenesDataset:
    CLASSES = ("car", "pedestrian")

    @classmethod
    def get_classes(cls, classes=None):
        return classes or cls.CLASSES

    def __init__(self, ann_file, data_root, pipeline, classes=None, load_interval=1):
        assert ann_file.startswith(data_root)
        self.infos = sorted(mmcv.load(ann_file)["infos"], key=lambda info: info["timestamp"])
        self.infos = self.infos[::load_interval]
        self.steps = [PIPELINES.build(step) for step in pipeline]

    def frame(self, index):
        results = {"info": self.infos[index]}
        for step in self.steps:
            results = step(results)
        return results

    def prepare_train_data(self, index):
        return self.frame(index)


@PIPELINES.register
class LoadPointsFromFile:
    def __init__(self, load_dim, use_dim):
        self.load_dim, self.use_dim = load_dim, use_dim

    def __call__(self, results):
        points = np.fromfile(results["info"]["lidar_path"], np.float32)
        results["points"] = points.reshape(-1, self.load_dim)[:, : self.use_dim]
        return results


@DATASETS.register
class Rooms:
    """Reads files of another kind."""
