"""AnchorHeadSingle's anchors, and how many of them match boxes; both on the host."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.config.head_settings import AnchorClassSettings
from bevdiag.config.settings import DataSettings

Floats = NDArray[np.float32]


def make_anchors(settings: AnchorClassSettings, data: DataSettings, num_codes: int) -> Tensor:
    """One class's anchors, float32 [1, H, W, sizes, rotations, codes]; the height is folded in.

    An anchor is x, y, z of the centre, dx, dy, dz, heading, then zeros up to `num_codes`. Where
    anchors are not centred in their cells, the first and last lie on the range's edges.
    """
    low, high = data.point_cloud_range[:2], data.point_cloud_range[3:5]
    axes = []
    for axis in range(2):
        cells = data.grid_size[axis] // settings.feature_map_stride
        step = (high[axis] - low[axis]) / (cells if settings.align_center else cells - 1)
        start = low[axis] + (step / 2 if settings.align_center else 0)
        end = high[axis] + 1e-5
        axes.append(torch.arange(start, end, step=step, dtype=torch.float32, device="cpu"))
    x, y, z, size, rotation = torch.meshgrid(
        *axes,
        _host(settings.anchor_bottom_heights),
        _host(range(len(settings.anchor_sizes))),
        _host(settings.anchor_rotations),
        indexing="ij",
    )
    extents = _host(settings.anchor_sizes)[size.long()]
    centre = torch.stack((x, y, z + extents[..., 2] / 2), dim=-1)
    zeros = torch.zeros((*x.shape, num_codes - 7), device="cpu")
    anchors = torch.cat((centre, extents, rotation[..., None], zeros), dim=-1)
    return anchors.permute(2, 1, 0, 3, 4, 5).contiguous()


def _host(values: Sequence[object]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device="cpu")


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """How many anchors of a class play which part for one sample's boxes of it.

    Attributes:
        forced: pairs of a box and an anchor that overlaps it most.
        matched: anchors that overlap a box by at least the threshold.
        background: anchors that overlap every box by less than the other threshold.
        foreground: anchors that are forced or matched.
    """

    forced: int
    matched: int
    background: int
    foreground: int


def count_matches(anchors: Floats, boxes: Floats, settings: AnchorClassSettings) -> MatchCounts:
    """Count matches of anchors [N, 7+] and boxes [n, 7+], n above 0, by the nearest upright boxes.

    A box meets few anchors, so only those are compared with it; with all others it shares nothing.
    """
    sides = np.ascontiguousarray(_upright(anchors).T)
    best = np.zeros(len(anchors), np.float32)
    is_forced = np.zeros(len(anchors), dtype=bool)
    forced = 0
    for box in _upright(boxes):
        near = np.flatnonzero(
            (sides[0] < box[2]) & (sides[2] > box[0]) & (sides[1] < box[3]) & (sides[3] > box[1])
        )
        overlap = _overlaps(sides[:, near], box)
        best[near] = np.maximum(best[near], overlap)
        closest = near[(overlap == overlap.max(initial=0)) & (overlap > 0)]
        forced += len(closest)
        is_forced[closest] = True
    is_matched = best >= np.float32(settings.matched_threshold)
    return MatchCounts(
        forced=forced,
        matched=int(is_matched.sum()),
        background=int((best < np.float32(settings.unmatched_threshold)).sum()),
        foreground=int((is_forced | is_matched).sum()),
    )


def _upright(boxes: Floats) -> Floats:
    """[N, 7+] to x, y minimum and maximum [N, 4], the heading rounded to a multiple of 90."""
    heading = boxes[:, 6]
    angle = np.abs(heading - np.floor(heading / np.float32(np.pi) + 0.5) * np.float32(np.pi))
    extent = np.where((angle < np.pi / 4)[:, None], boxes[:, 3:5], boxes[:, [4, 3]])
    upright: Floats = np.concatenate((boxes[:, :2] - extent / 2, boxes[:, :2] + extent / 2), axis=1)
    return upright


def _overlaps(sides: Floats, box: Floats) -> Floats:
    """Intersection over union [N] of x, y minimum and maximum: of [4, N] with those of one box."""
    width = np.minimum(sides[2], box[2]) - np.maximum(sides[0], box[0])
    height = np.minimum(sides[3], box[3]) - np.maximum(sides[1], box[1])
    common = width * height
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    overlaps: Floats = common / np.maximum(areas + area - common, 1e-6)
    return overlaps
