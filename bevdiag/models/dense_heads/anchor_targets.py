"""AnchorHeadSingle's anchors, and which stands for which box (AxisAlignedTargetAssigner).

Everything runs on the device. Which anchors match depends on anchors and boxes alone, both known on
the host; on meta tensors only their numbers are worked out there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.config.head_settings import AnchorClassSettings, AnchorHeadSettings
from bevdiag.config.model_settings import DataSettings
from bevdiag.models.sized_ops import nonzero

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


def sides_of(anchors: Tensor) -> Floats:
    """Anchors [N, 7+] to the x, y minimum and maximum [4, N] of the upright ones, on the host."""
    return np.ascontiguousarray(upright(anchors).numpy().T)


def count_matches(sides: Floats, boxes: Floats, settings: AnchorClassSettings) -> MatchCounts:
    """Count on the host what `_match` finds on the device.

    A box meets few anchors, so only those are compared with it; with all others it shares nothing.

    Args:
        sides: of the upright anchors, x, y minimum and maximum [4, N].
        boxes: [n, 7+], n above 0.
        settings: the class's.
    """
    upright_boxes = upright(torch.from_numpy(boxes))
    is_near = np.zeros(sides.shape[1], bool)
    is_near[0] = True  # one at least, to take the largest of
    for left, low, right, high in upright_boxes.numpy():
        is_near |= (sides[0] < right) & (sides[2] > left) & (sides[1] < high) & (sides[3] > low)
    overlap = _overlaps(torch.from_numpy(sides[:, is_near].T), upright_boxes)
    best = overlap.amax(dim=1)
    is_forced = (overlap == overlap.amax(dim=0)) & (overlap > 0)
    is_matched = best >= settings.matched_threshold
    far = sides.shape[1] - len(best)
    far_matched = far if settings.matched_threshold <= 0 else 0
    far_background = far if settings.unmatched_threshold > 0 else 0
    return MatchCounts(
        forced=int(is_forced.sum()),
        matched=int(is_matched.sum()) + far_matched,
        background=int((best < settings.unmatched_threshold).sum()) + far_background,
        foreground=int((is_forced.any(dim=1) | is_matched).sum()) + far_matched,
    )


@dataclass(frozen=True, slots=True, eq=False)
class AnchorTargets:
    """Targets of N anchors; a batch's have one more dimension in front.

    Attributes:
        labels: int32 [N], the class from 1, 0 for background, -1 for neither.
        codes: float [N, codes], the box as seen from the anchor.
        weights: float [N], 1 for anchors that stand for a box.
    """

    labels: Tensor
    codes: Tensor
    weights: Tensor


class AnchorAssigner:
    """Assigns boxes to the anchors of each class.

    Args:
        settings: the head's.
        host_anchors: each class's, float32 [1, H, W, sizes, rotations, codes].
        class_names: CLASS_NAMES.
    """

    def __init__(
        self,
        settings: AnchorHeadSettings,
        host_anchors: list[Tensor],
        class_names: tuple[str, ...],
    ) -> None:
        targets = settings.target_assigner_config
        self._classes = settings.anchor_generator_config
        self._class_names = np.array(class_names)
        self._num_codes = targets.box_coder_config.num_codes
        self._by_sincos = targets.box_coder_config.encode_angle_by_sincos
        self._norm_by_num_examples = targets.norm_by_num_examples
        self._sides = [sides_of(anchors.view(-1, self._num_codes)) for anchors in host_anchors]
        self._counts: dict[tuple[int, bytes], MatchCounts] = {}

    def assign(self, anchors: list[Tensor], gt_boxes: Tensor, host_boxes: Floats) -> AnchorTargets:
        """Targets of a batch, [B, anchors of all classes].

        Args:
            anchors: each class's, on the device, shaped as the host's.
            gt_boxes: [B, boxes, 8+], the class from 1 in the last column.
            host_boxes: the same on the host.
        """
        samples = []
        for sample, boxes in enumerate(host_boxes):
            used = _without_padding(boxes)
            own = gt_boxes[sample, :, :-1][: len(used)]
            own_classes = gt_boxes[sample, :, -1][: len(used)].int()
            samples.append(self._assign_sample(anchors, own, own_classes, used))
        codes = torch.stack([sample.codes for sample in samples], dim=0)
        labels = torch.stack([sample.labels for sample in samples], dim=0)
        weights = torch.stack([sample.weights for sample in samples], dim=0)
        return AnchorTargets(labels, codes, weights)

    def _assign_sample(
        self, all_anchors: list[Tensor], boxes: Tensor, classes: Tensor, host_boxes: Floats
    ) -> AnchorTargets:
        names = self._class_names[host_boxes[:, -1].astype(np.int64) - 1]
        targets = []
        for index, anchors in enumerate(all_anchors):
            is_own = names == self._classes[index].class_name
            mask = torch.from_numpy(is_own)
            targets.append(
                self._assign_class(
                    index,
                    anchors.view(-1, self._num_codes),
                    boxes[mask],
                    classes[mask],
                    host_boxes[is_own, :-1],
                )
            )
        cells = all_anchors[0].shape[:3]
        codes = torch.cat([t.codes.view(*cells, -1, self._num_codes) for t in targets], dim=-2)
        labels = torch.cat([t.labels.view(*cells, -1) for t in targets], dim=-1)
        weights = torch.cat([t.weights.view(*cells, -1) for t in targets], dim=-1)
        return AnchorTargets(labels.view(-1), codes.view(-1, self._num_codes), weights.view(-1))

    def _assign_class(
        self, index: int, anchors: Tensor, boxes: Tensor, classes: Tensor, host_boxes: Floats
    ) -> AnchorTargets:
        shape, device = (anchors.shape[0],), anchors.device
        labels = torch.ones(shape, dtype=torch.int32, device=device) * -1
        box_ids = torch.ones(shape, dtype=torch.int32, device=device) * -1
        if not len(host_boxes):
            labels[:] = 0
            codes = anchors.new_zeros((*shape, self._num_codes))
            return AnchorTargets(labels, codes, self._weights(labels))
        counts = self._count(index, host_boxes) if boxes.is_meta else None
        matches = _match(anchors, boxes, self._classes[index], counts)
        box_of_forced = matches.box_of_anchor[matches.forced]
        labels[matches.forced] = classes[box_of_forced]
        box_ids[matches.forced] = box_of_forced.int()
        box_of_matched = matches.box_of_anchor[matches.rows_of_matched()]
        labels[matches.rows_of_matched()] = classes[box_of_matched]
        box_ids[matches.rows_of_matched()] = box_of_matched.int()
        background = matches.rows_of_background()
        foreground = nonzero(labels > 0, None if counts is None else counts.foreground)[:, 0]
        labels[background] = 0
        labels[matches.forced] = classes[box_of_forced]
        codes = anchors.new_zeros((*shape, self._num_codes))
        codes[foreground, :] = encode_boxes(
            boxes[matches.box_of_anchor[foreground], :],
            anchors[foreground, :],
            by_sincos=self._by_sincos,
        )
        return AnchorTargets(labels, codes, self._weights(labels))

    def _weights(self, labels: Tensor) -> Tensor:
        weights = torch.zeros(labels.shape, dtype=torch.float32, device=labels.device)
        if self._norm_by_num_examples:
            examples = (labels >= 0).sum().clamp(min=1)
            return weights.masked_fill_(labels > 0, 1.0).div_(examples)
        return weights.masked_fill_(labels > 0, 1.0)

    def _count(self, index: int, boxes: Floats) -> MatchCounts:
        # Every step brings the same boxes.
        key = index, boxes.tobytes()
        if key not in self._counts:
            self._counts[key] = count_matches(self._sides[index], boxes, self._classes[index])
        return self._counts[key]


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """How N anchors and n boxes overlap; all of it lives while a class's targets are made.

    Attributes:
        overlap: [N, n].
        box_of_anchor: int64 [N], the box that each anchor overlaps most.
        best: [N], by how much.
        forced: int64 [pairs], anchors that overlap a box most.
    """

    overlap: Tensor
    box_of_anchor: Tensor
    best: Tensor
    forced: Tensor
    settings: AnchorClassSettings
    counts: MatchCounts | None

    def rows_of_matched(self) -> Tensor:
        """Int64 [matched]; found anew for every use, as indexing by a mask does."""
        mask = self.best >= self.settings.matched_threshold
        return nonzero(mask, None if self.counts is None else self.counts.matched)[:, 0]

    def rows_of_background(self) -> Tensor:
        """Int64 [background]."""
        mask = self.best < self.settings.unmatched_threshold
        return nonzero(mask, None if self.counts is None else self.counts.background)[:, 0]


def _match(
    anchors: Tensor, boxes: Tensor, settings: AnchorClassSettings, counts: MatchCounts | None
) -> _Matches:
    device = anchors.device
    overlap = nearest_overlaps(anchors[:, :7], boxes[:, :7])
    box_of_anchor = overlap.argmax(dim=1)
    best = overlap[torch.arange(len(anchors), device=device), box_of_anchor]
    anchor_of_box = overlap.argmax(dim=0)
    best_of_box = overlap[anchor_of_box, torch.arange(len(boxes), device=device)]
    best_of_box.masked_fill_(best_of_box == 0, -1)
    forced = nonzero(overlap == best_of_box, None if counts is None else counts.forced)[:, 0]
    return _Matches(overlap, box_of_anchor, best, forced, settings, counts)


def _without_padding(boxes: Floats) -> Floats:
    """Return the boxes [n, 8+] up to the last that is not all zeros; at least one."""
    used = np.flatnonzero(boxes[:, :-1].sum(axis=1) != 0)
    return boxes[: (used[-1] if len(used) else 0) + 1]


def nearest_overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union [N, n] of boxes [N, 7] and [n, 7], turned to the nearest axis."""
    upright_a, upright_b = upright(a), upright(b)
    return _overlaps(upright_a, upright_b)


def upright(boxes: Tensor) -> Tensor:
    """[N, 7+] to x, y minimum and maximum [N, 4], the heading rounded to a multiple of 90."""
    angle = limit_period(boxes[:, 6], offset=0.5, period=np.pi).abs()
    extent = torch.where(angle[:, None] < np.pi / 4, boxes[:, [3, 4]], boxes[:, [4, 3]])
    return torch.cat((boxes[:, 0:2] - extent / 2, boxes[:, 0:2] + extent / 2), dim=1)


def _overlaps(a: Tensor, b: Tensor) -> Tensor:
    x_min = torch.max(a[:, 0, None], b[None, :, 0])
    x_max = torch.min(a[:, 2, None], b[None, :, 2])
    y_min = torch.max(a[:, 1, None], b[None, :, 1])
    y_max = torch.min(a[:, 3, None], b[None, :, 3])
    width = torch.clamp_min(x_max - x_min, min=0)
    height = torch.clamp_min(y_max - y_min, min=0)
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    common = width * height
    return common / torch.clamp_min(area_a[:, None] + area_b[None, :] - common, min=1e-6)


def limit_period(angle: Tensor, *, offset: float, period: float) -> Tensor:
    """Move the angle by whole periods into [-offset * period, (1 - offset) * period)."""
    return angle - torch.floor(angle / period + offset) * period


def encode_boxes(boxes: Tensor, anchors: Tensor, *, by_sincos: bool) -> Tensor:
    """Codes [n, codes] of boxes as seen from anchors, both [n, 7+]; clamps extents in place."""
    anchors[:, 3:6] = torch.clamp_min(anchors[:, 3:6], min=1e-5)
    boxes[:, 3:6] = torch.clamp_min(boxes[:, 3:6], min=1e-5)
    xa, ya, za, dxa, dya, dza, ra, *others_a = torch.split(anchors, 1, dim=-1)
    xb, yb, zb, dxb, dyb, dzb, rb, *others_b = torch.split(boxes, 1, dim=-1)
    diagonal = torch.sqrt(dxa**2 + dya**2)
    place = [(xb - xa) / diagonal, (yb - ya) / diagonal, (zb - za) / dza]
    extent = [torch.log(dxb / dxa), torch.log(dyb / dya), torch.log(dzb / dza)]
    heading = [rb - ra]
    if by_sincos:
        heading = [torch.cos(rb) - torch.cos(ra), torch.sin(rb) - torch.sin(ra)]
    others = [b - a for b, a in zip(others_b, others_a, strict=False)]
    return torch.cat([*place, *extent, *heading, *others], dim=-1)
