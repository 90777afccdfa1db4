"""The extension modules of mmdetection3d before 1.0, of which mmcv took over the operators.

Their C++ allocates what mmcv's does (checked against that of 0.17): the functions here bring its
arguments into mmcv's order, or read the boxes as they were written then.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bevdiag.source.stubs import boxes, indice_convs, mmcv
from bevdiag.source.stubs.arrays import Array, Filled, Op, array, compiled
from bevdiag.source.stubs.ops import OPS, overwriting, suppressing

_BATCH = OPS["pointnet2_batch_cuda"]
_ROIS = OPS["roiaware_pool3d_cuda"]


def hard_voxelize(
    cloud: Tensor,
    voxels: Tensor,
    coors: Tensor,
    counts: Tensor,
    voxel_size: Sequence[float],
    coors_range: Sequence[float],
    *limits: Any,
) -> int:
    """Points [N, F] into voxels [max_voxels, max_points, F], z, y, x and counts; how many."""
    sizes, bounds, found = (
        torch.from_numpy(np.array(value, kind))
        for value, kind in ((voxel_size, np.float32), (coors_range, np.float32), (0, np.int64))
    )
    mmcv.hard_voxelize(cloud, sizes, bounds, voxels, coors, counts, found, *limits)
    return int(array(found))


def _as_written_then(find: Op) -> Op:
    """Boxes [..., T, 7] are x, y, z, width, length, height and the old yaw."""

    def find_in_old_boxes(boxes_: Array, cloud: Array, out: Filled) -> None:
        turned = boxes_[..., [0, 1, 2, 4, 3, 5, 6]]
        turned[..., 6] = -turned[..., 6] - np.pi / 2
        find(turned, cloud, out)

    return compiled(find_in_old_boxes)


def _straight(boxes_: Array) -> Array:
    """Boxes [N, 5] of two corners and an angle that does not count."""
    return boxes.cornered(boxes_[:, :4])


_GROUPING = {
    "forward": _BATCH["group_points_wrapper"],
    "backward": _BATCH["group_points_grad_wrapper"],
}
_SPARSE: dict[str, Op] = {
    **{f"get_indice_pairs_{axes}d": indice_convs.indice_pairs for axes in (2, 3, 4)},
    **{
        f"indice_{name}_{kind}": op
        for kind in ("fp32", "half")
        for name, op in (
            ("conv", indice_convs.convolve),
            ("conv_backward", indice_convs.convolve_backward),
            ("maxpool", indice_convs.pool),
            ("maxpool_backward", indice_convs.pool_backward),
        )
    },
}
_OWN: dict[str, dict[str, Op]] = {
    "voxel_layer": {
        "hard_voxelize": hard_voxelize,
        "dynamic_voxelize": compiled(
            mmcv.dynamic_voxelize, "cloud coors voxel_size coors_range NDim"
        ),
        "dynamic_point_to_voxel_forward": mmcv.scatter_points,
        "dynamic_point_to_voxel_backward": mmcv.scatter_points_backward,
    },
    "sparse_conv_ext": _SPARSE,
    "iou3d_cuda": {
        "boxes_overlap_bev_gpu": compiled(boxes.comparison(boxes.cornered)),
        "boxes_iou_bev_gpu": compiled(boxes.comparison(boxes.cornered, boxes.OVER_UNION)),
        "nms_gpu": OPS["ioubev_nms_cuda"]["nms_gpu"],
        "nms_normal_gpu": overwriting(suppressing(_straight, boxes.OLD_MARGIN)),
    },
    "roiaware_pool3d_ext": {
        "forward": _ROIS["forward"],
        "backward": _ROIS["backward"],
        "points_in_boxes_gpu": _as_written_then(mmcv.points_in_first_box),
        "points_in_boxes_batch": _as_written_then(mmcv.points_in_every_box),
        "points_in_boxes_cpu": _as_written_then(mmcv.points_in_boxes_of_host),
    },
    "ball_query_ext": {"ball_query_wrapper": _BATCH["ball_query_dilated_wrapper"]},
    "group_points_ext": _GROUPING,
    **dict.fromkeys(("furthest_point_sample_ext", "gather_points_ext", "interpolate_ext"), _BATCH),
}
EXTENSIONS = {**OPS, **_OWN}
"""Functions by the name of the extension module, those of other families among them."""
