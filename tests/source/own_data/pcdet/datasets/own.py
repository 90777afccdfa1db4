import pickle

from .template import DatasetTemplate


class OwnDataset(DatasetTemplate):
    """Reads frames from files, of which there are none here."""

    def __init__(self, dataset_cfg, class_names, training=True, logger=None):
        super().__init__(dataset_cfg, class_names, training, logger)
        self.num_scales = 3
        self.infos = []
        with open(self.root_path / "infos.pkl", "rb") as file:
            self.infos = pickle.load(file)

    def __getitem__(self, index):
        info = self.infos[index]
        annos = info["annos"]
        points = self.get_lidar(info["point_cloud"]["lidar_idx"])
        data = self.prepare_data(
            {"points": points, "gt_boxes": annos["gt_boxes_lidar"], "gt_names": annos["name"]}
        )
        data["halves"] = len(points) // 2
        data["image_shape"] = info["image"]["image_shape"]
        return data

    def get_lidar(self, name):
        return pickle.load(open(self.root_path / name, "rb"))
