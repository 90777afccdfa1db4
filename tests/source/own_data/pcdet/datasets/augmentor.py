from functools import partial

import cv2
import numpy as np


class Augmentor:
    def __init__(self, root_path, config):
        self.root_path = root_path
        self.data_augmentor_queue = [
            getattr(self, entry.NAME)(config=entry) for entry in config.AUG_CONFIG_LIST
        ]

    def gt_sampling(self, config):
        return open(self.root_path / config.DB_INFO_PATH[0])

    def turn(self, data=None, config=None):
        if data is None:
            return partial(self.turn, config=config)
        low, high = config.WORLD_ROT_ANGLE
        angle = np.random.uniform(low, high)
        x, y = data["points"][:, 0].copy(), data["points"][:, 1].copy()
        data["points"][:, 0] = x * np.cos(angle) - y * np.sin(angle)
        data["points"][:, 1] = x * np.sin(angle) + y * np.cos(angle)
        return data

    def shake(self, data=None, config=None):
        """Each object by itself, in loops that take minutes without numba."""
        raise AssertionError("it would move nothing")

    def blur(self, data=None, config=None):
        if data is None:
            return partial(self.blur, config=config)
        return cv2.blur(data)

    def forward(self, data):
        for step in self.data_augmentor_queue:
            data = step(data=data)
        return data
