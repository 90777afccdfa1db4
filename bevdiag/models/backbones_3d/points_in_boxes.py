"""Which box a point lies in: stands in for OpenPCDet's CUDA operator of that name."""

import torch
from torch import Tensor

_MARGIN = 1e-5
"""Metres that the operator adds to a box's half length and half width."""


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """Find the first box that holds each point, -1 where none does.

    Allocates on the device what the operator does: the result, and contiguous operands.

    Args:
        points: [1, N, 3], x, y, z.
        boxes: [1, T, 7], x, y, z, dx, dy, dz, heading; x, y, z is the centre.

    Returns:
        int32 [1, N].
    """
    result = points.new_zeros(points.shape[:2], dtype=torch.int).fill_(-1)
    boxes, points = boxes.contiguous(), points.contiguous()
    if not points.is_meta:
        result.copy_(_first_box(points[0].detach().cpu(), boxes[0].detach().cpu()))
    return result


def _first_box(points: Tensor, boxes: Tensor) -> Tensor:
    """On the host: [N, 3] and [T, 7] to int32 [1, N]."""
    offset = points[:, None] - boxes[None, :, :3]
    cos, sin = torch.cos(boxes[:, 6]), torch.sin(boxes[:, 6])
    along = (offset[..., 0] * cos + offset[..., 1] * sin).abs()
    across = (offset[..., 1] * cos - offset[..., 0] * sin).abs()
    half = boxes[:, 3:6] / 2
    inside = (along < half[:, 0] + _MARGIN) & (across < half[:, 1] + _MARGIN)
    inside &= offset[..., 2].abs() <= half[:, 2]
    found, box = inside.max(dim=1)
    return torch.where(found, box, -1).to(torch.int)[None]
