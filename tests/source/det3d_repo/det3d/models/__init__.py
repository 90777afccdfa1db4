"""A detector of one reader, one convolution and one loss."""

import torch
from torch import nn


class Toy(nn.Module):
    def __init__(self, reader, channels, logger, train_cfg, test_cfg, pretrained=None):
        super().__init__()
        if pretrained is not None:
            torch.load(pretrained)
        self.reader = nn.Linear(reader.num_input_features, channels)
        self.head = nn.Conv2d(channels, 1, 3, padding=1)
        self.classes = sum(task.num_class for task in train_cfg.assigner.tasks)
        assert test_cfg.pc_range

    def forward(self, example, return_loss=True):
        assert return_loss
        assert example["voxels"].is_cuda
        assert example["metadata"][0]["num_point_features"] == 5
        count = example["num_points"].type_as(example["voxels"]).view(-1, 1)
        features = self.reader(example["voxels"].sum(dim=1) / count)
        width, height, _ = map(int, example["shape"][0])
        batch = len(example["points"])
        coordinates = example["coordinates"].long()
        flat = (coordinates[:, 0] * height + coordinates[:, 2]) * width + coordinates[:, 3]
        canvas = features.new_zeros(batch * height * width, features.shape[1])
        canvas[flat] = features
        bev = canvas.view(batch, height, width, -1).permute(0, 3, 1, 2).contiguous()
        loss = (self.head(bev) - example["hm"][0]).abs().mean()
        return {"loss": [loss], "hm_loss": [loss.detach().cpu()]}


def build_detector(cfg, train_cfg=None, test_cfg=None):
    kinds = {"Toy": Toy}
    made = {key: cfg[key] for key in cfg if key != "type"}
    return kinds[cfg["type"]](train_cfg=train_cfg, test_cfg=test_cfg, **made)
