"""Which points lie in which boxes."""

import torch

from . import roiaware_pool3d_cuda


def points_in_boxes(points, boxes):
    found = points.new_zeros(points.shape[:2], dtype=torch.int).fill_(-1)
    roiaware_pool3d_cuda.points_in_boxes_gpu(boxes.contiguous(), points.contiguous(), found)
    return found
