_base_ = ["./_base_/data.py"]
plugin = True
plugin_dir = "plugin/toy/"
point_cloud_range = [-8, -8, -3, 8, 8, 1]
model = dict(type="Toy")
optimizer = dict(type="SGD", lr=0.1)
optimizer_config = dict(grad_clip=dict(max_norm=35))
