"""CenterHead's targets, drawn on the host as the original does, and its losses.

The losses are on heat maps, on codes and on how decoded boxes overlap their targets.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bevdiag.config.head_settings import CenterTargetSettings
from bevdiag.models.dense_heads.anchor_targets import upright
from bevdiag.models.sized_ops import nonzero, to_device

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class SampleTargets(NamedTuple):
    """Targets of one sample and head; O is NUM_MAX_OBJS.

    Attributes:
        heatmap: [classes, H, W].
        boxes: [O, codes]: offset x, y in the cell, z, log of the extents, cos and sin of the
            heading, then the rest of the box.
        cells: int64 [O], y * W + x.
        mask: int64 [O], 1 where an object is.
        source_boxes: [O, codes], the boxes as they came.
    """

    heatmap: Floats
    boxes: Floats
    cells: Ints
    mask: Ints
    source_boxes: Floats


@dataclass(frozen=True, slots=True, eq=False)
class HeadTargets:
    """A head's targets on the device, those of `SampleTargets` stacked over the batch.

    Attributes:
        has_centres: whether any target of the heat map is 1.
        num_objects: of all samples.
    """

    heatmap: Tensor
    boxes: Tensor
    cells: Tensor
    mask: Tensor
    source_boxes: Tensor
    has_centres: bool
    num_objects: int

    def pick(self, values: Tensor) -> Tensor:
        """Pick the objects' rows [num_objects, C] of values [B, O, C], as indexing by the mask."""
        rows = nonzero(self.mask.bool(), self.num_objects)
        return values[rows[:, 0], rows[:, 1]]


def on_device(samples: list[SampleTargets], device: torch.device) -> HeadTargets:
    """Each sample's arrays go to the device one by one and are stacked there."""
    arrays = [[to_device(array, device) for array in sample] for sample in samples]
    heatmap, boxes, cells, mask, source_boxes = (
        torch.stack(list(column), dim=0) for column in zip(*arrays, strict=True)
    )
    has_centres = any(bool(np.any(sample.heatmap == 1)) for sample in samples)
    num_objects = sum(int(sample.mask.sum()) for sample in samples)
    return HeadTargets(heatmap, boxes, cells, mask, source_boxes, has_centres, num_objects)


@dataclass(frozen=True, slots=True)
class BevGrid:
    """The head's map: W, H in cells, origin x, y in metres, a cell's edges in voxels and these's.

    `voxel` is a voxel's edges x, y in metres.
    """

    width: int
    height: int
    origin: tuple[float, float]
    voxel: tuple[float, float]
    stride: int

    @property
    def cell(self) -> tuple[float, float]:
        """A cell's edges x, y in metres."""
        return self.voxel[0] * self.stride, self.voxel[1] * self.stride


def boxes_of_head(boxes: Floats, class_names: tuple[str, ...], head: tuple[str, ...]) -> Floats:
    """Pick the boxes [n, 8+] whose class the head knows, their class now counted within the head.

    Args:
        boxes: [M, 8+], the class from 1 in the last column; rows of class 0 pad.
        class_names: all classes.
        head: the head's classes.
    """
    number = {class_names.index(name) + 1: head.index(name) + 1 for name in head}
    rows = [row for row, value in enumerate(boxes[:, -1].astype(np.int64)) if value in number]
    own = boxes[rows].copy()
    own[:, -1] = [number[int(value)] for value in own[:, -1]]
    return own


def draw_targets(
    boxes: Floats, num_classes: int, grid: BevGrid, settings: CenterTargetSettings
) -> SampleTargets:
    """Targets from a head's boxes [n, 8+]; boxes without extent are left out."""
    codes = boxes.shape[1]
    size = settings.num_max_objs
    targets = SampleTargets(
        heatmap=np.zeros((num_classes, grid.height, grid.width), np.float32),
        boxes=np.zeros((size, codes), np.float32),
        cells=np.zeros(size, np.int64),
        mask=np.zeros(size, np.int64),
        source_boxes=np.zeros((size, codes), np.float32),
    )
    boxes = boxes[:size]
    targets.source_boxes[: len(boxes)] = boxes
    cell_edges = np.array(grid.cell, np.float32)
    last = np.array([grid.width - 0.5, grid.height - 0.5], np.float32)
    centre = (boxes[:, :2] - np.array(grid.origin, np.float32)) / cell_edges
    centre = np.clip(centre, 0, last)
    cell = centre.astype(np.int64)
    extent = boxes[:, 3:5] / cell_edges
    for k in np.flatnonzero((extent > 0).all(axis=1)):
        radius = int(gaussian_radius(extent[k, 0], extent[k, 1], settings.gaussian_overlap))
        x, y = int(cell[k, 0]), int(cell[k, 1])
        heatmap = targets.heatmap[int(boxes[k, -1]) - 1]
        draw_gaussian(heatmap, x, y, max(radius, settings.min_radius))
        targets.cells[k] = y * grid.width + x
        targets.mask[k] = 1
        targets.boxes[k] = _encode(boxes[k], centre[k] - cell[k])
    return targets


def _encode(box: Floats, offset: Floats) -> Floats:
    heading = box[6]
    codes = [*offset, box[2], *np.log(box[3:6]), np.cos(heading), np.sin(heading), *box[7:-1]]
    return np.array(codes, np.float32)


def gaussian_radius(height: float, width: float, overlap: float) -> float:
    """Largest corner shift that keeps two boxes' IoU at `overlap` (CornerNet, arXiv:1808.01244).

    The least of the three cases' roots, with the division by 2 of CornerNet's released code where
    the quadratic formula has 2a. `height` and `width` are in cells.
    """
    total, area = height + width, height * width
    cases = (
        (1.0, total, area * (1 - overlap) / (1 + overlap)),
        (4.0, 2 * total, (1 - overlap) * area),
        (4 * overlap, -2 * overlap * total, (overlap - 1) * area),
    )
    return float(min((b + np.sqrt(b * b - 4 * a * c)) / 2 for a, b, c in cases))


def draw_gaussian(heatmap: Floats, x: int, y: int, radius: int) -> None:
    """Raise the map [H, W] to a Gaussian around x, y; its deviation is a sixth of its width."""
    sigma = (2 * radius + 1) / 6
    left, right = min(x, radius), min(heatmap.shape[1] - x, radius + 1)
    top, bottom = min(y, radius), min(heatmap.shape[0] - y, radius + 1)
    rows, columns = np.arange(-top, bottom), np.arange(-left, right)
    gaussian = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * sigma * sigma))
    gaussian[gaussian < np.finfo(gaussian.dtype).eps] = 0
    patch = heatmap[y - top : y + bottom, x - left : x + right]
    np.maximum(patch, gaussian.astype(np.float32), out=patch)


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
        sides_a, sides_b = upright(a), upright(b)
        low = torch.maximum(sides_a[:, :2], sides_b[:, :2])
        high = torch.minimum(sides_a[:, 2:], sides_b[:, 2:])
        result.copy_(torch.clamp(high - low, min=0).prod(dim=1, keepdim=True))
    return result


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
