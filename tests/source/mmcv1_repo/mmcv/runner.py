"""What mmcv's runner does around a model."""

import torch


def wrap_fp16_model(model):
    for module in model.modules():
        if hasattr(module, "fp16_enabled"):
            module.fp16_enabled = True


def build_optimizer(model, settings):
    kind = getattr(torch.optim, settings["type"])
    return kind(model.parameters(), lr=settings["lr"])
