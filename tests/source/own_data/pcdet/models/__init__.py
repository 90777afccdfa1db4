"""A repository with its own data pipeline, compiled operations and a package of its own."""

import numpy as np
import torch

from .detectors import DETECTORS


def build_network(model_cfg, num_class, dataset, logger):
    logger.info("building %s", model_cfg.NAME)
    return DETECTORS[model_cfg.NAME](model_cfg, num_class, dataset)


def load_data_to_gpu(batch):
    for key, value in batch.items():
        if isinstance(value, torch.Tensor):
            raise AssertionError(f"{key} is on the GPU already")
        if isinstance(value, np.ndarray) and key != "image_shape":
            batch[key] = torch.from_numpy(value).float().cuda()


def model_fn_decorator():
    def model_func(model, batch, **kwargs):
        load_data_to_gpu(batch)
        found, *others, scales = model(batch)
        loss = found["loss"] if "loss" in found else found["part"] + found["other_part"]
        return (loss, *others, scales)

    return model_func
