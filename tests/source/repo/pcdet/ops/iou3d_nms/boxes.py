"""Wrappers that allocate for their compiled operations."""

import torch

from . import iou3d_nms_cuda


def overlaps(a, b):
    out = torch.cuda.FloatTensor(torch.Size((a.shape[0], b.shape[0]))).zero_()
    iou3d_nms_cuda.boxes_iou_bev_gpu(a.contiguous(), b.contiguous(), out)
    return out


def suppress(boxes, scores, threshold):
    order = scores.sort(0, descending=True)[1]
    keep = torch.LongTensor(boxes.size(0))
    count = iou3d_nms_cuda.nms_gpu(boxes[order].contiguous(), keep, threshold)
    return order[keep[:count].cuda()].contiguous()
