_base_ = ["./_base_/data.py"]
plugin = True
plugin_dir = "plugin/toy/"
point_cloud_range = [-8, -8, -3, 8, 8, 1]
model = {"type": "Toy", "pretrained": "not/there.pth"}
optimizer = {"type": "SGD", "lr": 0.1}
optimizer_config = {"grad_clip": {"max_norm": 35}}
