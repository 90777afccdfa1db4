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


class Widen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return TWIST_OP.widen(x, torch.tensor([3, 4], device=x.device), 2)

    @staticmethod
    def backward(ctx, gradient):
        return gradient[:, : gradient.shape[1] // 2]
