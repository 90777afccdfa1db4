import itertools
import logging

tasks = [{"num_class": 1, "class_names": ["car"]}, {"num_class": 1, "class_names": ["pedestrian"]}]
class_names = list(itertools.chain(*[task["class_names"] for task in tasks]))

model = {
    "type": "Toy",
    "pretrained": "work_dirs/toy/latest.pth",
    "reader": {"num_input_features": 5},
    "channels": 8,
    "logger": logging.getLogger("Toy"),
}
train_cfg = {"assigner": {"tasks": tasks}}
test_cfg = {"pc_range": [-8, -8]}
preprocessor = {
    "mode": "train",
    "global_rot_noise": [-0.8, 0.8],
    "global_scale_noise": [0.9, 1.1],
    "db_sampler": {"type": "GT-AUG", "db_info_path": "data/none.pkl"},
    "class_names": class_names,
}
voxel_generator = {
    "range": [-8, -8, -3, 8, 8, 1],
    "voxel_size": [1, 1, 4],
    "max_points_in_voxel": 4,
    "max_voxel_num": [200, 250],
}
data = {
    "samples_per_gpu": 2,
    "train": {
        "type": "NuScenesDataset",
        "nsweeps": 2,
        "class_names": class_names,
        "pipeline": [
            {"type": "LoadPointCloudFromFile", "dataset": "NuScenesDataset"},
            {"type": "LoadPointCloudAnnotations"},
            {"type": "Preprocess", "cfg": preprocessor},
            {"type": "Voxelization", "cfg": voxel_generator},
            {"type": "Reformat"},
        ],
    },
}
optimizer = {"type": "adam", "wd": 0.01}
optimizer_config = {"grad_clip": {"max_norm": 35}}
lr_config = {"type": "one_cycle", "lr_max": 0.001}
