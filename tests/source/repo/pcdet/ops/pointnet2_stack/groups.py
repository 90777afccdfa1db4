"""Points around points."""

import torch
from torch.autograd import Function

from . import pointnet2_stack_cuda as pointnet2


class Group(Function):
    @staticmethod
    def forward(ctx, features, counts, idx, idx_counts):
        rows, slots = idx.size()
        out = torch.cuda.FloatTensor(rows, features.shape[1], slots)
        pointnet2.group_points_wrapper(
            len(counts), rows, features.shape[1], slots, features, counts, idx, idx_counts, out
        )
        ctx.size = features.shape
        return out

    @staticmethod
    def backward(ctx, grad):
        back = torch.cuda.FloatTensor(*ctx.size).zero_()
        pointnet2.group_points_grad_wrapper(*ctx.size, grad.contiguous(), back)
        return back, None, None, None


def farthest(xyz, count):
    out = torch.cuda.IntTensor(1, count)
    scratch = torch.cuda.FloatTensor(1, len(xyz)).fill_(1e10)
    pointnet2.farthest_point_sampling_wrapper(1, len(xyz), count, xyz, scratch, out)
    return out[0].long()


def ball(radius, slots, xyz, counts, centres, centre_counts):
    idx = torch.cuda.IntTensor(len(centres), slots).zero_()
    pointnet2.ball_query_wrapper(
        len(counts), len(centres), radius, slots, centres, centre_counts, xyz, counts, idx
    )
    empty = idx[:, 0] == -1
    idx[empty] = 0
    return idx
