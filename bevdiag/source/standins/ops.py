"""The compiled operations of OpenPCDet-style repositories, by module and C++ signature.

Their Python wrappers allocate the outputs and pass them in, so most of these have nothing to do:
what they would write into is a meta tensor, or an index that may as well be zeros. Where an output
decides coordinates or counts and its inputs have values, it is computed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bevdiag.source.standins.rois import in_box_frames, pool_roi_aware
from bevdiag.source.state import current


def _fills_its_outputs(*_: Any) -> int:
    return 1


def _all_boxes_kept(boxes: Tensor, keep: Tensor, threshold: float, *_: Any) -> int:
    """nms_gpu and nms_normal_gpu: `keep` int64 [N] gets the survivors, best first."""
    total = len(boxes)
    count = current().values.count(
        total,
        expected=total,
        why="non-maximum suppression decides; every box is taken to survive it, "
        "NMS_POST_MAXSIZE is what limits them",
        kind="nms",
    )
    keep[:count] = torch.arange(count)
    return count


def _inside(boxes: Tensor, points: Tensor) -> Any:
    """Bool array [boxes, points] for boxes [T, 7] and points [N, 3]."""
    # In NumPy, where nothing is recorded: the kernels allocate nothing.
    sizes = boxes.numpy()[:, None, 3:6]
    return (abs(in_box_frames(boxes.numpy(), points.numpy())) <= sizes / 2).all(axis=-1)


def _points_in_boxes_gpu(boxes: Tensor, points: Tensor, result: Tensor) -> int:
    """Boxes [B, T, 7], points [B, N, 3]; result int32 [B, N], -1 outside of all boxes."""
    if boxes.is_meta or points.is_meta or result.is_meta:
        return 1
    for sample in range(len(boxes)):
        real = boxes[sample].numpy()[:, 3] > 0
        for box in real.nonzero()[0].tolist():
            hit = _inside(boxes[sample, box : box + 1], points[sample])[0]
            result[sample].numpy()[hit] = box
    return 1


def _points_in_boxes_cpu(boxes: Tensor, points: Tensor, result: Tensor) -> int:
    """Boxes [T, 7], points [N, 3]; result int32 [T, N], 1 inside."""
    if not (boxes.is_meta or points.is_meta or result.is_meta):
        result.numpy()[...] = _inside(boxes, points)
    return 1


def _ingroup_indices(groups: Tensor, result: Tensor) -> None:
    """Result [N]: how many earlier entries of `groups` have the same value."""
    if groups.is_meta or result.is_meta:
        return
    values = groups.numpy()
    order = values.argsort(kind="stable")
    ordered = values[order]
    starts = torch.from_numpy(ordered)
    opens = torch.ones(len(starts), dtype=torch.bool)
    opens[1:] = starts[1:] != starts[:-1]
    position = torch.arange(len(starts))
    first = torch.where(opens, position, torch.zeros_like(position)).cummax(0).values
    result.numpy()[order] = (position - first).numpy()


def _farthest_points(b: int, n: int, count: int, xyz: Tensor, scratch: Tensor, out: Tensor) -> int:
    """Out int32 [B, count]: any points will do, their number is what counts."""
    if not out.is_meta:
        out.numpy()[...] = (torch.arange(count) % max(n, 1)).numpy()
    return 1


def _farthest_points_stack(
    xyz: Tensor, scratch: Tensor, per_sample: Tensor, out: Tensor, counts: Any
) -> int:
    """Out int32 [sum of counts]: indices into each sample's own points."""
    if out.is_meta:
        return 1
    sizes = counts.tolist() if isinstance(counts, Tensor) else [counts] * len(per_sample)
    start = 0
    for size, points in zip(sizes, per_sample.tolist(), strict=True):
        out.numpy()[start : start + size] = (torch.arange(size) % max(points, 1)).numpy()
        start += size
    return 1


def _vector_pool(*args: Any) -> int:
    """The number of grouped points; the wrapper sizes its buffer for the expected one."""
    largest: int = args[14]
    return largest


def _stacked_neighbours(*args: Any) -> int:
    """`cumsum` int32 [1] gets the number of neighbours: as many as the buffer holds."""
    neighbours, total = args[4], args[6]
    if not total.is_meta:
        total.numpy()[0] = len(neighbours)
    return 1


def _bev_pool(
    features: Tensor,
    geometry: Tensor,
    lengths: Tensor,
    starts: Tensor,
    b: int,
    d: int,
    h: int,
    w: int,
) -> Tensor:
    """[N, C] to [B, D, H, W, C]."""
    return features.new_zeros((b, d, h, w, features.shape[1]))


def _bev_pool_backward(grad: Tensor, geometry: Tensor, *_: Any) -> Tensor:
    """[B, D, H, W, C] to [N, C]."""
    return grad.new_zeros((len(geometry), grad.shape[-1]))


Op = Callable[..., Any]
_POINTNET2: dict[str, Op] = dict.fromkeys(
    (
        "ball_query_wrapper",
        "group_points_wrapper",
        "group_points_grad_wrapper",
        "gather_points_wrapper",
        "gather_points_grad_wrapper",
        "three_nn_wrapper",
        "three_interpolate_wrapper",
        "three_interpolate_grad_wrapper",
        "voxel_query_wrapper",
        "query_three_nn_by_stacked_local_idxs_wrapper_stack",
        "vector_pool_grad_wrapper",
    ),
    _fills_its_outputs,
) | {
    "farthest_point_sampling_wrapper": _farthest_points,
    "stack_farthest_point_sampling_wrapper": _farthest_points_stack,
    "vector_pool_wrapper": _vector_pool,
    "query_stacked_local_neighbor_idxs_wrapper_stack": _stacked_neighbours,
}

OPS: dict[str, dict[str, Op]] = {
    "iou3d_nms_cuda": {
        **dict.fromkeys(
            (
                "boxes_overlap_bev_gpu",
                "boxes_aligned_overlap_bev_gpu",
                "paired_boxes_overlap_bev_gpu",
                "boxes_iou_bev_gpu",
                "boxes_iou_bev_cpu",
                "boxes_aligned_iou_bev_cpu",
            ),
            _fills_its_outputs,
        ),
        "nms_gpu": _all_boxes_kept,
        "nms_normal_gpu": _all_boxes_kept,
    },
    "roiaware_pool3d_cuda": {
        "forward": pool_roi_aware,
        "backward": _fills_its_outputs,
        "points_in_boxes_gpu": _points_in_boxes_gpu,
        "points_in_boxes_cpu": _points_in_boxes_cpu,
    },
    "roipoint_pool3d_cuda": {"forward": _fills_its_outputs},
    "pointnet2_stack_cuda": _POINTNET2,
    "pointnet2_batch_cuda": _POINTNET2,
    "bev_pool_ext": {
        "bev_pool_forward": _bev_pool,
        "bev_pool_backward": _bev_pool_backward,
    },
    "ingroup_inds_cuda": {"forward": _ingroup_indices},
}
"""Functions by the name of the extension module that holds them."""
