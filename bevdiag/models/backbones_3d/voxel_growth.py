"""Voxels that split into foreground and background by their importance, and grow.

What the focal modules have in common: the split, the foreground's dilation, and the merging of
what coincides. Where the originals branch on feature values, those are evaluated on real tensors;
on meta tensors the masks are given (`FocalDecision`), and the sizes that follow with them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bevdiag.models.backbones_3d.focal_growth import (
    OFFSETS,
    FocalDecision,
    Growth,
    SampleGrowth,
    grow,
)
from bevdiag.models.sized_ops import to_device, unique_consecutive_rows, without_values


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One sample's merged foreground and its background; `fore_scores` are [n]."""

    fore: Tensor
    fore_coords: Tensor
    back: Tensor
    back_coords: Tensor
    fore_scores: Tensor


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
        splits = [self._split(x, sample, logits, own) for sample, own in enumerate(known)]
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
        for sample, own in enumerate(known):
            rows = _rows_of_sample(joined_coords, splits, sample)
            size = None if own is None else own.num_kept
            features, coords, _ = _merge_repeats(
                joined[rows], joined_coords[rows], None, size, flip=False
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

    def _split(self, x: Any, sample: int, logits: Tensor, growth: SampleGrowth | None) -> Split:
        """Split one sample's voxels and let its foreground grow."""
        rows = x.indices[:, 0] == sample
        own_coords = (without_values(x.indices) if logits.is_meta else x.indices)[rows]
        own = x.features[rows]
        importance = logits[rows, -1].sigmoid()
        neighbour_scores = logits[rows, :-1].sigmoid()
        if self.scale_all:
            own *= importance.unsqueeze(-1)
        is_fore, is_back = self._foreground(importance, growth)

        fore, fore_coords = own[is_fore], own_coords[is_fore]
        fore_neighbour_scores = neighbour_scores[is_fore]
        if growth is None:
            is_on = fore_neighbour_scores >= self.threshold
        else:
            is_on = to_device(growth.neighbours, fore.device, keep_values=True)
        steps = self.offsets.unsqueeze(0).repeat(is_on.shape[0], 1, 1)
        scores = neighbour_scores[is_fore][is_on]
        origins = fore_coords[:, 1:].unsqueeze(1).repeat(1, self.offsets.shape[0], 1)
        moved = origins + steps
        cells = moved[is_on]
        if growth is None:
            is_inside = _inside(cells, x.spatial_shape)
        else:
            is_inside = to_device(growth.inside, fore.device, keep_values=True)
        cells, scores, device = cells[is_inside], scores[is_inside], fore.device
        cells = torch.cat([torch.ones((cells.shape[0], 1), device=device) * sample, cells], dim=1)

        spawned = torch.zeros((cells.shape[0], own.shape[1]), device=device)
        grown = torch.cat([fore, spawned], dim=0)
        fore_coords = torch.cat([fore_coords, cells], dim=0)
        scores = torch.cat([torch.ones(fore.shape[0], device=device), scores], dim=0)
        size = None if growth is None else growth.num_fore
        fore, fore_coords, merged_scores = _merge_repeats(
            grown, fore_coords, scores, size, flip=True
        )
        assert merged_scores is not None
        return Split(fore, fore_coords, own[is_back], own_coords[is_back], merged_scores)

    def _foreground(self, scores: Tensor, growth: SampleGrowth | None) -> tuple[Tensor, Tensor]:
        """Return masks of foreground and background from importance [N].

        In top-k mode they are indices, on meta tensors without values: their number is all that
        counts.
        """
        if self.topk:
            _, order = scores.sort(descending=True)
            count = int(scores.shape[0] * self.threshold)
            return order[:count], order[count:]
        if growth is None:
            return scores > self.threshold, scores <= self.threshold
        return (
            to_device(growth.fore, scores.device, keep_values=True),
            to_device(~growth.fore, scores.device, keep_values=True),
        )

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


def _inside(cells: Tensor, spatial_shape: list[int]) -> Tensor:
    """Mask [cells] of the coordinates z, y, x inside the grid: planes at 0 count as outside."""
    inside = cells[:, 0] > 0
    for axis in (1, 2):
        inside = inside * (cells[:, axis] > 0)
    for axis in range(3):
        inside = inside * (cells[:, axis] < spatial_shape[axis])
    return inside


def _merge_repeats(
    features: Tensor, coords: Tensor, scores: Tensor | None, size: int | None, *, flip: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Add up the features of voxels that coincide and average their scores.

    `focal_growth` tells which voxels coincide. Without voxels there is nothing to merge (the
    original fails there).

    Args:
        features: [N, C].
        coords: int or float [N, 4]: sample, z, y, x.
        scores: [N], or None.
        size: voxels that are left, on meta tensors.
        flip: whether to go through the sorted voxels backwards.
    """
    if not coords.shape[0]:
        return features, coords.int(), scores
    features, coords, scores = _sort(features, coords, scores)
    if flip:
        features, coords = features.flip([0]), coords.flip([0])
    if scores is not None:
        scores = scores.flip([0])
    zyx = coords[:, 1:].int()
    unique, inverse, counts = unique_consecutive_rows(_position_key(zyx), size)
    if unique.shape[0] == coords.shape[0]:
        return features, coords, scores
    position = torch.arange(inverse.size(0), dtype=inverse.dtype, device=inverse.device)
    summed = torch.zeros(
        (unique.shape[0], features.shape[-1]), dtype=features.dtype, device=features.device
    )
    summed.index_add_(0, inverse.long(), features)
    features = summed
    last = inverse.new_empty(unique.size(0)).scatter_(0, inverse, position)
    coords = coords[last].int()
    if scores is not None:
        score_sums = torch.zeros((unique.shape[0],), dtype=scores.dtype, device=scores.device)
        score_sums.index_add_(0, inverse.long(), scores)
        scores = score_sums / counts
    return features, coords, scores


def _sort(
    features: Tensor, coords: Tensor, scores: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    # Stable, so that the survivor among voxels that only the key takes for one does not depend on
    # the CPU at hand; on a GPU both sorts are the same kernel.
    _, order = _position_key(coords[:, 1:]).sort(stable=True)
    features, coords = features[order], coords[order]
    return features, coords, None if scores is None else scores[order]


def _position_key(zyx: Tensor) -> Tensor:
    """Key positions by the largest coordinates, instead of extents: see `focal_growth`."""
    z, y, x = zyx.select(1, 0), zyx.select(1, 1), zyx.select(1, 2)
    return z * zyx[:, 1].max() * zyx[:, 2].max() + y * zyx[:, 2].max() + x


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
