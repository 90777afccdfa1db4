"""CenterHead's losses, on heat maps, on codes and on how decoded boxes overlap their targets."""

from math import pi

import torch
from torch import Tensor
from torch.nn import functional

from bevdiag.models.dense_heads.anchor_targets import limit_period
from bevdiag.models.dense_heads.center_targets import BevGrid, HeadTargets


def decode_boxes(predicted: dict[str, Tensor], grid: BevGrid) -> Tensor:
    """Boxes [B, H, W, 7], with a velocity 9, from the branches' maps."""
    batch_size, _, height, width = predicted["center"].shape
    centre = _by_cell(predicted["center"])
    z = _by_cell(predicted["center_z"])
    extent = _by_cell(predicted["dim"].exp())
    cos = _by_cell(predicted["rot"][:, 0].unsqueeze(dim=1))
    sin = _by_cell(predicted["rot"][:, 1].unsqueeze(dim=1))
    velocity = _by_cell(predicted["vel"]) if "vel" in predicted else None
    heading = torch.atan2(sin, cos)
    ys, xs = torch.meshgrid(
        torch.arange(0, height, device=centre.device, dtype=centre.dtype),
        torch.arange(0, width, device=centre.device, dtype=centre.dtype),
        indexing="ij",
    )
    ys = ys.view(1, height, width).repeat(batch_size, 1, 1)
    xs = xs.view(1, height, width).repeat(batch_size, 1, 1)
    xs = xs.view(batch_size, -1, 1) + centre[:, :, 0:1]
    ys = ys.view(batch_size, -1, 1) + centre[:, :, 1:2]
    xs = xs * grid.stride * grid.voxel[0] + grid.origin[0]
    ys = ys * grid.stride * grid.voxel[1] + grid.origin[1]
    parts = [xs, ys, z, extent, heading, *([] if velocity is None else [velocity])]
    return torch.cat(parts, dim=-1).view(batch_size, height, width, -1)


def _by_cell(maps: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H * W, C]."""
    batch_size, channels, height, width = maps.shape
    return maps.permute(0, 2, 3, 1).contiguous().view(batch_size, height * width, channels)


def iou_loss(iou: Tensor, boxes: Tensor, objects: HeadTargets) -> Tensor:
    """L1 loss of the predicted IoU, scaled to [-1, 1], averaged over the objects.

    Args:
        iou: [B, 1, H, W].
        boxes: [B, 7+, H, W], without gradient.
        objects: the targets.
    """
    if not objects.num_objects:
        return iou.new_zeros(1)
    predicted = objects.pick(gather_cells(iou, objects.cells))
    own = objects.pick(gather_cells(boxes, objects.cells))
    target = paired_overlaps(own[:, 0:7], objects.pick(objects.source_boxes)[:, 0:7])
    target = target * 2 - 1
    loss = functional.l1_loss(predicted.view(-1), target, reduction="sum")
    return loss / torch.clamp(objects.mask.bool().sum(), min=1e-4)


def paired_overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union [n] of boxes [n, 7], pair by pair.

    Stands in for OpenPCDet's CUDA operator, which takes the flat overlap of the boxes as they are
    turned; here headings are rounded to multiples of 90 degrees. The loss's value differs by it,
    but no byte does.
    """
    top_a, bottom_a = (a[:, 2] + a[:, 5] / 2).view(-1, 1), (a[:, 2] - a[:, 5] / 2).view(-1, 1)
    top_b, bottom_b = (b[:, 2] + b[:, 5] / 2).view(-1, 1), (b[:, 2] - b[:, 5] / 2).view(-1, 1)
    flat = _flat_overlaps(a.contiguous(), b.contiguous())
    above, below = torch.min(top_a, top_b), torch.max(bottom_a, bottom_b)
    height = torch.clamp(above - below, min=0)
    common = flat * height
    volume_a = (a[:, 3] * a[:, 4] * a[:, 5]).view(-1, 1)
    volume_b = (b[:, 3] * b[:, 4] * b[:, 5]).view(-1, 1)
    overlap = common / torch.clamp(volume_a + volume_b - common, min=1e-6)
    return overlap.view(-1)


def _flat_overlaps(a: Tensor, b: Tensor) -> Tensor:
    """[n, 1], the overlap in the plane."""
    result = torch.zeros((len(a), 1), dtype=torch.float32, device=a.device)
    if not result.is_meta:
        edges = torch.ones_like(result)
        for axis in range(2):
            half_a, half_b = (_upright_extent(x)[:, axis] / 2 for x in (a, b))
            above = torch.minimum(a[:, axis] + half_a, b[:, axis] + half_b)
            below = torch.maximum(a[:, axis] - half_a, b[:, axis] - half_b)
            edges *= torch.clamp(above - below, min=0).view(-1, 1)
        result.copy_(edges)
    return result


def _upright_extent(boxes: Tensor) -> Tensor:
    angle = limit_period(boxes[:, 6], offset=0.5, period=pi).abs()
    return torch.where(angle[:, None] < pi / 4, boxes[:, 3:5], boxes[:, [4, 3]])


def iou_regression_loss(boxes: Tensor, objects: HeadTargets) -> Tensor:
    """1 - DIoU of the decoded boxes [B, 7+, H, W], averaged over the objects."""
    own = gather_cells(boxes, objects.cells)
    overlap = _distance_ious(objects.pick(own)[:, 0:7], objects.pick(objects.source_boxes)[:, 0:7])
    return (1.0 - overlap).sum() / torch.clamp(objects.mask.bool().sum(), min=1e-4)


def _distance_ious(a: Tensor, b: Tensor) -> Tensor:
    """Upright IoU less the squared distance over the hull's squared diagonal, [n], within 1.

    Args:
        a: [n, 7].
        b: [n, 7].
    """
    low_a, high_a = _corners(a)
    low_b, high_b = _corners(b)
    common = torch.clamp(torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b), min=0)
    hull = torch.clamp(torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b), min=0)
    volume_a, volume_b = (x[:, 3] * x[:, 4] * x[:, 5] for x in (a, b))
    shared = common[:, 0] * common[:, 1] * common[:, 2]
    union = volume_b + volume_a - shared
    distance = torch.pow(b[:, 0:3] - a[:, 0:3], 2).sum(-1)
    diagonal = hull[:, 0] ** 2 + hull[:, 1] ** 2 + hull[:, 2] ** 2
    return torch.clamp(shared / union - distance / diagonal, min=-1.0, max=1.0)


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return boxes[:, 0:3] - 0.5 * boxes[:, 3:6], boxes[:, 0:3] + 0.5 * boxes[:, 3:6]


def heatmap_loss(predicted: Tensor, target: Tensor, *, has_centres: bool) -> Tensor:
    """Penalty-reduced focal loss over a heat map.

    Args:
        predicted: probabilities [B, C, H, W], within (0, 1).
        target: Gaussians of height 1 at the boxes' centres, [B, C, H, W].
        has_centres: whether any target is 1; the original asks the device.
    """
    is_centre = target.eq(1).float()
    is_other = target.lt(1).float()
    other_weight = torch.pow(1 - target, 4)
    centre_loss = torch.log(predicted) * torch.pow(1 - predicted, 2) * is_centre
    other_loss = torch.log(1 - predicted) * torch.pow(predicted, 2) * other_weight * is_other
    num_centres = is_centre.float().sum()
    centre_loss, other_loss = centre_loss.sum(), other_loss.sum()
    if not has_centres:
        return 0 - other_loss
    return 0 - (centre_loss + other_loss) / num_centres


def regression_loss(output: Tensor, mask: Tensor, index: Tensor, target: Tensor) -> Tensor:
    """L1 loss of each code at the boxes' centres, averaged over the boxes: [codes].

    Args:
        output: [B, codes, H, W].
        mask: int64 [B, objects], 1 where an object is.
        index: int64 [B, objects], its cell y * W + x.
        target: [B, objects, codes]; the original's mask for nan does not keep one from the sum.
    """
    predicted = gather_cells(output, index)
    num_objects = mask.float().sum()
    weight = mask.unsqueeze(2).expand_as(target).float()
    is_number = (~torch.isnan(target)).float()
    weight *= is_number
    predicted = predicted * weight
    target = target * weight
    loss = torch.abs(predicted - target).transpose(2, 0)
    loss = torch.sum(loss, dim=2)
    loss = torch.sum(loss, dim=1)
    return loss / torch.clamp_min(num_objects, min=1.0)


def gather_cells(maps: Tensor, index: Tensor) -> Tensor:
    """Values [B, objects, C] of maps [B, C, H, W] at cells int64 [B, objects]."""
    cells = maps.permute(0, 2, 3, 1).contiguous()
    cells = cells.view(cells.size(0), -1, cells.size(3))
    index = index.unsqueeze(2).expand(index.size(0), index.size(1), cells.size(2))
    return cells.gather(1, index)
