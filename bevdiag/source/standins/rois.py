"""What regions of interest hold, judged by the boxes that a step knows: the ground truth's.

Proposals have no values here. Training samples them around the ground truth, so its boxes say how
many of a region's cells hold a point.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bevdiag.source.state import current

Floats = NDArray[np.float32]


def in_box_frames(boxes: Floats, points: Floats) -> Floats:
    """Points [N, 3] as seen from boxes [T, 7], [T, N, 3]: metres from the centre, unrotated."""
    local = points[None] - boxes[:, None, :3]
    cos, sin = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    x = local[..., 0] * cos + local[..., 1] * sin
    y = local[..., 1] * cos - local[..., 0] * sin
    seen: Floats = np.stack((x, y, local[..., 2]), axis=-1)
    return seen


def occupied_cells(boxes: Floats, points: Floats, cells: tuple[int, int, int]) -> int:
    """How many of all the boxes' cells (x, y, z of each box) hold one of the points."""
    place = (in_box_frames(boxes, points) / boxes[:, None, 3:6] + 0.5) * cells
    inside = ((place >= 0) & (place < cells)).all(axis=-1)
    box = inside.nonzero()[0]
    x, y, z = place[inside].astype(np.int64).T
    return len(np.unique(((box * cells[0] + x) * cells[1] + y) * cells[2] + z))


def pool_roi_aware(rois: Tensor, points: Tensor, _: Tensor, *outputs: object) -> int:
    """roiaware_pool3d's forward: [rois, x, y, z, channels] of the points [N, 3] of one sample."""
    pooled = outputs[2]
    boxes = current().boxes
    if not isinstance(pooled, Tensor) or points.is_meta or boxes is None:
        return 1
    shape = pooled.shape[:4]
    cells = (shape[1], shape[2], shape[3])
    # The call does not say whose points they are: the boxes that hold most of them are theirs.
    of_samples, cloud = boxes.numpy(), points.numpy()
    most = max(occupied_cells(of_sample[:, :7], cloud, cells) for of_sample in of_samples)
    share = most / max(boxes.shape[1] * cells[0] * cells[1] * cells[2], 1)
    current().values.expect_share(
        cells,
        share,
        "cells of the sampled regions that hold a point; as many as in the ground truth's boxes "
        f"({share:.2%}) are taken to",
    )
    return 1
