"""CenterHead's targets, drawn on the host as the original does."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.config.head_settings import CenterTargetSettings
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
    width = 2 * radius + 1
    sigma = width / 6
    ramp = np.arange(-radius, radius + 1)
    gaussian = np.exp(-(ramp[:, None] ** 2 + ramp**2) / (2 * sigma * sigma))
    gaussian[gaussian < np.finfo(gaussian.dtype).eps] = 0
    left, right = min(x, radius), min(heatmap.shape[1] - x, radius + 1)
    top, bottom = min(y, radius), min(heatmap.shape[0] - y, radius + 1)
    patch = heatmap[y - top : y + bottom, x - left : x + right]
    part = gaussian[radius - top : radius + bottom, radius - left : radius + right]
    np.maximum(patch, part.astype(np.float32), out=patch)
