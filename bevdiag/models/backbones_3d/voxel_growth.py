"""What the modules that split voxels by their importance and let them grow have in common."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.models.backbones_3d.focal_growth import OFFSETS, FocalDecision, Growth, grow
from bevdiag.models.backbones_3d.focal_split import (
    Decisions,
    Split,
    merge_repeats,
    split_voxels,
)
from bevdiag.models.sized_ops import to_device


class VoxelGrowth(nn.Module):
    """Splits each sample's voxels, lets the foreground spawn neighbours, and merges what coincides.

    Which voxels are kept depends on feature values: on meta tensors `decision` must say it.
    `num_kept` says how many the last forward pass kept.

    Args:
        threshold: of the importance and of the neighbours' scores.
        topk: whether the foreground is the share `threshold` of the voxels instead.
        scale_all: whether every voxel's features are multiplied by its importance first.
        scale_fore: whether the merged foreground's features are multiplied by its mean scores.
        spconv: a namespace like spconv.pytorch.
    """

    offsets: Tensor

    def __init__(
        self,
        *,
        threshold: float,
        topk: bool,
        scale_all: bool,
        scale_fore: bool,
        spconv: Any,
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.topk = topk
        self.scale_all = scale_all
        self.scale_fore = scale_fore
        self.spconv = spconv
        self.register_buffer("offsets", torch.tensor(OFFSETS, dtype=torch.float32))
        self.num_kept = 0
        self.decision: FocalDecision | None = None

    def grown(self, x: Any, logits: Tensor) -> tuple[Any, tuple[object, ...], tuple[object, ...]]:
        """Return the kept voxels as a sparse tensor, and what whoever holds the rest keeps alive.

        The originals differ in that: one merges within the function that then convolves.

        Args:
            x: sparse tensor of N voxels.
            logits: [N, 27]: 26 neighbours, then the voxel's own importance.

        Returns:
            The kept voxels; features, coordinates and scores of foreground and background; what
            the merging of them left.
        """
        growth = self._growth_of(x) if logits.is_meta else None
        known = [None] * x.batch_size if growth is None else growth.samples
        decisions = [Decisions(self.threshold, self.topk, sample) for sample in known]
        splits = [
            split_voxels(x, sample, logits, self.offsets, decision, scale=self.scale_all)
            for sample, decision in enumerate(decisions)
        ]
        fore = torch.cat([split.fore for split in splits], dim=0)
        fore_coords = torch.cat([split.fore_coords for split in splits], dim=0)
        back = torch.cat([split.back for split in splits], dim=0)
        back_coords = torch.cat([split.back_coords for split in splits], dim=0)
        scores = None
        if self.scale_fore:
            scores = torch.cat([split.fore_scores for split in splits], dim=0)
            fore = fore * scores.unsqueeze(-1)
        joined = torch.cat([fore, back], dim=0)
        joined_coords = torch.cat([fore_coords, back_coords], dim=0)
        kept, kept_coords = [], []
        for sample, decision in enumerate(decisions):
            rows = _rows_of_sample(joined_coords, splits, sample)
            features, coords, _ = merge_repeats(
                joined[rows], joined_coords[rows], None, decision.num_kept, flip=False
            )
            kept.append(features)
            kept_coords.append(coords)
        all_kept = torch.cat(kept, dim=0)
        self.num_kept = len(all_kept)
        if growth is None:
            all_coords = torch.cat(kept_coords, dim=0).int()
        else:
            all_coords = to_device(growth.coords, logits.device, keep_values=True)
        sparse = self.spconv.SparseConvTensor(
            all_kept, all_coords, list(x.spatial_shape), x.batch_size
        )
        parts = (fore, fore_coords, back, back_coords, scores)
        return sparse, parts, (splits, joined, joined_coords, kept, kept_coords)

    def _growth_of(self, x: Any) -> Growth:
        if self.decision is None:
            raise RuntimeError(
                f"{type(self).__name__}: which voxels are kept depends on feature values, which "
                "meta tensors do not have: set its decision first"
            )
        depth, height, width = x.spatial_shape
        return grow(x.indices.numpy(), self.decision, (depth, height, width), x.batch_size)


def _rows_of_sample(joined_coords: Tensor, splits: list[Split], sample: int) -> Tensor:
    if not joined_coords.is_meta:
        return joined_coords[:, 0] == sample
    sizes = [len(split.fore_coords) for split in splits] + [len(s.back_coords) for s in splits]
    owner = np.tile(np.arange(len(splits)), 2)
    return to_device(np.repeat(owner, sizes) == sample, joined_coords.device, keep_values=True)


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
