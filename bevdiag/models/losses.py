"""CenterPoint's losses, after CornerNet's focal loss and masked L1."""

import torch
from torch import Tensor


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
