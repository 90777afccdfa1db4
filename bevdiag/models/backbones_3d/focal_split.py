"""The focal encoder's split into foreground and background, dilation and merging.

Where the original branches on feature values, it asks a `Decisions`: with real features they are
evaluated, on meta tensors they are given, and the sizes that follow from them with them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bevdiag.models.backbones_3d.focal_growth import SampleGrowth
from bevdiag.models.sized_ops import to_device, unique_consecutive_rows, without_values


@dataclass(frozen=True, slots=True)
class Decisions:
    """What one sample's values decide.

    Attributes:
        threshold: of the importance and of the neighbours' scores.
        topk: whether the foreground is this share of the voxels instead.
        growth: what they come to, for meta tensors; None takes it from the values.
    """

    threshold: float
    topk: bool
    growth: SampleGrowth | None = None

    @property
    def num_fore(self) -> int | None:
        """Foreground voxels after merging, None where values tell them."""
        return None if self.growth is None else self.growth.num_fore

    @property
    def num_kept(self) -> int | None:
        """Voxels after merging with the background, likewise."""
        return None if self.growth is None else self.growth.num_kept

    def foreground(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks of foreground and background from importance [N].

        In top-k mode they are indices, on meta tensors without values: their number is all that
        counts.
        """
        if self.topk:
            _, order = scores.sort(descending=True)
            count = int(scores.shape[0] * self.threshold)
            return order[:count], order[count:]
        if self.growth is None:
            return scores > self.threshold, scores <= self.threshold
        fore = self.growth.fore
        return (
            to_device(fore, scores.device, keep_values=True),
            to_device(~fore, scores.device, keep_values=True),
        )

    def neighbours(self, scores: Tensor) -> Tensor:
        """Mask [n, 26] of the neighbours that are on, from the foreground's scores [n, 26]."""
        if self.growth is None:
            return scores >= self.threshold
        return to_device(self.growth.neighbours, scores.device, keep_values=True)

    def inside(self, cells: Tensor, spatial_shape: list[int]) -> Tensor:
        """Mask [cells] of the coordinates z, y, x inside the grid: planes at 0 count as outside."""
        if self.growth is not None:
            return to_device(self.growth.inside, cells.device, keep_values=True)
        inside = cells[:, 0] > 0
        for axis in (1, 2):
            inside = inside * (cells[:, axis] > 0)
        for axis in range(3):
            inside = inside * (cells[:, axis] < spatial_shape[axis])
        return inside


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One sample's merged foreground and its background; `fore_scores` are [n]."""

    fore: Tensor
    fore_coords: Tensor
    back: Tensor
    back_coords: Tensor
    fore_scores: Tensor


def split_voxels(
    x: Any,
    sample: int,
    logits: Tensor,
    offsets: Tensor,
    decisions: Decisions,
    *,
    scale: bool = False,
) -> Split:
    """Split one sample's voxels and let its foreground grow.

    Args:
        x: sparse tensor of N voxels, C features.
        sample: which sample of the batch.
        logits: [N, 27]: 26 neighbours, then the voxel's own importance.
        offsets: float [26, 3], z, y, x.
        decisions: for this sample.
        scale: whether the features are multiplied by the importance.
    """
    rows = x.indices[:, 0] == sample
    own_coords = (without_values(x.indices) if logits.is_meta else x.indices)[rows]
    own = x.features[rows]
    importance = logits[rows, -1].sigmoid()
    neighbour_scores = logits[rows, :-1].sigmoid()
    if scale:
        own *= importance.unsqueeze(-1)
    is_fore, is_back = decisions.foreground(importance)

    fore, fore_coords = own[is_fore], own_coords[is_fore]
    fore_neighbour_scores = neighbour_scores[is_fore]
    is_on = decisions.neighbours(fore_neighbour_scores)
    steps = offsets.unsqueeze(0).repeat(is_on.shape[0], 1, 1)
    scores = neighbour_scores[is_fore][is_on]
    origins = fore_coords[:, 1:].unsqueeze(1).repeat(1, offsets.shape[0], 1)
    moved = origins + steps
    cells = moved[is_on]
    is_inside = decisions.inside(cells, x.spatial_shape)
    cells, scores, device = cells[is_inside], scores[is_inside], fore.device
    cells = torch.cat([torch.ones((cells.shape[0], 1), device=device) * sample, cells], dim=1)

    spawned = torch.zeros((cells.shape[0], own.shape[1]), device=device)
    grown = torch.cat([fore, spawned], dim=0)
    fore_coords = torch.cat([fore_coords, cells], dim=0)
    scores = torch.cat([torch.ones(fore.shape[0], device=device), scores], dim=0)
    fore, fore_coords, merged_scores = merge_repeats(
        grown, fore_coords, scores, decisions.num_fore, flip=True
    )
    assert merged_scores is not None
    return Split(fore, fore_coords, own[is_back], own_coords[is_back], merged_scores)


def merge_repeats(
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
