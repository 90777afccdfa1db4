import torch

from . import TWIST_OP


def twist(x):
    out = torch.zeros_like(x)
    TWIST_OP.twist_wrapper(len(x), x, out)
    return x + out


def twist_into(x, out):
    TWIST_OP.twist_wrapper(len(x), x, out)


def returned(x):
    return TWIST_OP.untwist(x)
