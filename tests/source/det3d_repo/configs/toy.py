import itertools
import logging

tasks = [dict(num_class=1, class_names=["car"]), dict(num_class=1, class_names=["pedestrian"])]
class_names = list(itertools.chain(*[task["class_names"] for task in tasks]))

model = dict(
    type="Toy",
    pretrained="work_dirs/toy/latest.pth",
    reader=dict(num_input_features=5),
    channels=8,
    logger=logging.getLogger("Toy"),
)
train_cfg = dict(assigner=dict(tasks=tasks))
test_cfg = dict(pc_range=[-8, -8])
preprocessor = dict(
    mode="train",
    global_rot_noise=[-0.8, 0.8],
    global_scale_noise=[0.9, 1.1],
    db_sampler=dict(type="GT-AUG", db_info_path="data/none.pkl"),
    class_names=class_names,
)
voxel_generator = dict(
    range=[-8, -8, -3, 8, 8, 1], voxel_size=[1, 1, 4], max_points_in_voxel=4, max_voxel_num=[200, 250]
)
data = dict(
    samples_per_gpu=2,
    train=dict(
        type="NuScenesDataset",
        nsweeps=2,
        class_names=class_names,
        pipeline=[
            dict(type="LoadPointCloudFromFile", dataset="NuScenesDataset"),
            dict(type="LoadPointCloudAnnotations"),
            dict(type="Preprocess", cfg=preprocessor),
            dict(type="Voxelization", cfg=voxel_generator),
            dict(type="Reformat"),
        ],
    ),
)
optimizer = dict(type="adam", wd=0.01)
optimizer_config = dict(grad_clip=dict(max_norm=35))
lr_config = dict(type="one_cycle", lr_max=0.001)
