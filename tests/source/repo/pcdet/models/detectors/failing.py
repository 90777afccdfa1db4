"""What goes wrong in a repository, one way a class."""

import os
import time

import cv2
import torch
from torch import nn

from ...ops.mystery.op import mystery


class _Failing(nn.Module):
    def __init__(self, cfg, num_class, dataset):
        super().__init__()
        self.layer = nn.Linear(dataset.point_feature_encoder.num_point_features, 4)

    def forward(self, batch):
        out = self.layer(batch["points"][:, 1:])
        self.fail(out)
        return {"loss": out.mean()}, {}, {}

    def fail(self, out):
        pass


class Aborting(_Failing):
    def fail(self, out):
        os.abort()


class Exiting(_Failing):
    def fail(self, out):
        print("about to leave")
        os._exit(3)


class Hanging(_Failing):
    def fail(self, out):
        time.sleep(600)


class MissingPackage(_Failing):
    def fail(self, out):
        cv2.resize(out)


class UnknownOp(_Failing):
    def fail(self, out):
        mystery(out)


class Downloading(_Failing):
    def __init__(self, cfg, num_class, dataset):
        super().__init__(cfg, num_class, dataset)
        weights = torch.hub.load_state_dict_from_url("https://example.invalid/weights.pth")
        self.layer.load_state_dict(weights["model"])


class AskingForImages(_Failing):
    def forward(self, batch):
        try:
            batch["depth_maps"]
        except KeyError:
            return super().forward({"points": batch["images"]})
