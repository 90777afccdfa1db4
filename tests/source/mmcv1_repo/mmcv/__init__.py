"""As much of mmcv 1.x as a training step asks for."""

import pickle
from pathlib import Path


def dump(value, file):
    Path(file).write_bytes(pickle.dumps(value))


def load(file):
    return pickle.loads(Path(file).read_bytes())


def imwrite(image, file):
    Path(file).write_bytes(image.tobytes())
