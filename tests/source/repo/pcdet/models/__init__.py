import numba
import numpy as np
import SharedArray
from easydict import EasyDict

from .detectors import DETECTORS

try:
    import surely_not_installed
except ImportError:
    surely_not_installed = None


@numba.jit(nopython=True)
def half(value):
    return value // 2


class Shared(SharedArray.Base):
    size = np.int(half(4))


def build_network(model_cfg, num_class, dataset):
    assert isinstance(model_cfg, EasyDict)
    assert surely_not_installed is None
    return DETECTORS[model_cfg.NAME](model_cfg, num_class, dataset)
