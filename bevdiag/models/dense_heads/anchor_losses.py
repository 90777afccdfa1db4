"""AnchorHeadSingle's losses."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from bevdiag.models.dense_heads.anchor_targets import limit_period

_ALPHA, _GAMMA = 0.25, 2.0
_BETA = 1 / 9
"""Where the smooth L1 loss turns from a parabola into a line."""


def classification_loss(logits: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Focal loss over anchors, summed; positive and negative ones weigh 1 / positives.

    Args:
        logits: [B, H, W, anchors a cell * classes].
        labels: int32 [B, N], the class from 1, 0 for background, -1 for neither.
        num_classes: classes.
    """
    batch_size = logits.shape[0]
    cared = labels >= 0
    positives = labels > 0
    negatives = labels == 0
    negative_weights = negatives * 1.0
    weights = (negative_weights + 1.0 * positives).float()
    box_weights = positives.float()
    if num_classes == 1:
        labels.masked_fill_(positives, 1)
    num_positives = positives.sum(1, keepdim=True).float()
    box_weights /= torch.clamp(num_positives, min=1.0)
    weights /= torch.clamp(num_positives, min=1.0)
    targets = labels * cared.type_as(labels)
    one_hot = torch.zeros(
        *targets.shape, num_classes + 1, dtype=logits.dtype, device=targets.device
    )
    one_hot.scatter_(-1, targets.unsqueeze(dim=-1).long(), 1.0)
    logits = logits.view(batch_size, -1, num_classes)
    return _focal_loss(logits, one_hot[..., 1:], weights).sum() / batch_size


def _focal_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Of each class of each anchor, [B, N, classes]; `weights` is [B, N]."""
    probability = torch.sigmoid(logits)
    alpha = target * _ALPHA + (1 - target) * (1 - _ALPHA)
    miss = target * (1.0 - probability) + (1.0 - target) * probability
    focal_weight = alpha * torch.pow(miss, _GAMMA)
    cross_entropy = _cross_entropy_of_logits(logits, target)
    loss = focal_weight * cross_entropy
    return loss * weights.unsqueeze(-1)


def _cross_entropy_of_logits(logits: Tensor, target: Tensor) -> Tensor:
    hinge = torch.clamp(logits, min=0) - logits * target
    return hinge + torch.log1p(torch.exp(-torch.abs(logits)))


def box_loss(
    codes: Tensor, targets: Tensor, labels: Tensor, code_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Smooth L1 loss over the codes of positive anchors, summed, and the positive anchors' mask.

    Args:
        codes: [B, N, codes].
        targets: [B, N, codes].
        labels: int32 [B, N].
        code_weights: [codes].
    """
    batch_size = codes.shape[0]
    positives = labels > 0
    weights = positives.float()
    num_positives = positives.sum(1, keepdim=True).float()
    weights /= torch.clamp(num_positives, min=1.0)
    codes, targets = with_sine_difference(codes, targets)
    loss = _smooth_l1(codes, targets, weights, code_weights)
    return loss.sum() / batch_size, positives


def with_sine_difference(codes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Replace the heading codes so that their difference is the sine of the headings'."""
    predicted = torch.sin(codes[..., 6:7]) * torch.cos(targets[..., 6:7])
    wanted = torch.cos(codes[..., 6:7]) * torch.sin(targets[..., 6:7])
    codes = torch.cat([codes[..., :6], predicted, codes[..., 7:]], dim=-1)
    targets = torch.cat([targets[..., :6], wanted, targets[..., 7:]], dim=-1)
    return codes, targets


def _smooth_l1(codes: Tensor, target: Tensor, weights: Tensor, code_weights: Tensor) -> Tensor:
    target = torch.where(torch.isnan(target), codes, target)
    difference = codes - target
    difference = difference * code_weights.view(1, 1, -1)
    distance = torch.abs(difference)
    loss = torch.where(distance < _BETA, 0.5 * distance**2 / _BETA, distance - 0.5 * _BETA)
    return loss * weights.unsqueeze(-1)


def direction_loss(logits: Tensor, targets: Tensor, positives: Tensor) -> Tensor:
    """Cross entropy over the bins of the heading, summed over positive anchors.

    Args:
        logits: [B, N, bins].
        targets: one-hot [B, N, bins].
        positives: bool [B, N].
    """
    batch_size = logits.shape[0]
    weights = positives.type_as(logits)
    weights /= torch.clamp(weights.sum(-1, keepdim=True), min=1.0)
    bins = targets.argmax(dim=-1)
    loss = functional.cross_entropy(logits.permute(0, 2, 1), bins, reduction="none") * weights
    return loss.sum() / batch_size


def direction_targets(anchors: Tensor, targets: Tensor, *, offset: float, num_bins: int) -> Tensor:
    """Which bin the box's heading lies in, one-hot [B, N, bins].

    Args:
        anchors: [B, N, codes].
        targets: [B, N, codes].
        offset: where the first bin starts, radians.
        num_bins: bins.
    """
    heading = targets[..., 6] + anchors[..., 6]
    turned = limit_period(heading - offset, offset=0, period=2 * math.pi)
    bins = torch.floor(turned / (2 * math.pi / num_bins)).long()
    bins = torch.clamp(bins, min=0, max=num_bins - 1)
    one_hot = torch.zeros(*bins.shape, num_bins, dtype=anchors.dtype, device=bins.device)
    one_hot.scatter_(-1, bins.unsqueeze(dim=-1).long(), 1.0)
    return one_hot
