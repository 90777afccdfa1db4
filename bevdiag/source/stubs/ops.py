"""The compiled operations of OpenPCDet-style repositories, by module and C++ signature.

Their Python wrappers allocate the outputs and pass them in. Where all that an operation reads and
writes has values, it computes what the kernel would. On meta tensors most have nothing to do; what
decides counts is assumed. Gradients have no values in any case: a step goes backward on meta
tensors only.
"""

from functools import wraps
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.state import current, running
from bevdiag.source.stubs import boxes, neighbours, points, pooling, rois, scans
from bevdiag.source.stubs.arrays import (
    Array,
    Filled,
    FilledTensor,
    Op,
    lose_values,
    native,
    on_values,
    ranks,
)
from bevdiag.source.stubs.pairs import assumed_pairs, counted, pairs_found
from bevdiag.trace.assumed_values import AssumedValues


def all_boxes_kept(boxes: Tensor, keep: FilledTensor, threshold: float, *_: int) -> int:
    """Suppression without values: `keep` int64 [N] gets the survivors, best first."""
    total, values = len(boxes), current().values
    assert isinstance(values, AssumedValues)
    count = values.count(
        total,
        expected=total,
        why="non-maximum suppression decides; every box is taken to survive it, "
        "NMS_POST_MAXSIZE is what limits them",
        kind="nms",
    )
    keep[:count] = torch.arange(count)
    return count


def _counted(compute: Op) -> Op:
    """Suppression with values; a trace that has none is answered with its count."""

    def with_count(*args: Any) -> Any:
        return counted("nms", int(compute(*args)))

    return wraps(compute)(with_count)


def _ingroup_indices(groups: Array, result: Filled) -> None:
    """Count, in result [N], how many earlier entries of `groups` have the same value."""
    order = groups.argsort(kind="stable")
    result[order] = ranks(groups[order])


def _members(groups: Array, result: Filled) -> None:
    """Fill result [G, K]: the first K places of each group in `groups`, repeated if fewer."""
    order = groups.argsort(kind="stable")
    sizes = np.bincount(groups, minlength=len(result))
    starts = np.cumsum(sizes) - sizes
    filled = sizes > 0
    slots = np.arange(result.shape[1]) % np.minimum(sizes, result.shape[1])[filled, None]
    result[filled] = order[starts[filled, None] + slots]


@wraps(neighbours.stacked_neighbours)
def _stacked_neighbours(*args: Any) -> None:
    neighbours.stacked_neighbours(*args)
    pairs_found(int(args[6][0]))


@native(
    "points point_counts centres centre_counts found start_len total average reach nsample kind"
)
def _unknown_neighbours(
    points: Tensor, centres: Tensor, found: Tensor, total: FilledTensor, reach: float, nsample: int
) -> int:
    """`total` int32 [1] gets the number of neighbours, unless it has no values either."""
    limit = nsample if nsample > 0 else neighbours.MOST_STACKED
    count = assumed_pairs(points, centres, reach, limit, len(found))
    if not total.is_meta:
        total.numpy()[0] = count
    return 1


def _gradient(*args: Any) -> int:
    """Make the last tensor a gradient, which has no values: no rehearsal goes backward."""
    lose_values([arg for arg in args if isinstance(arg, Tensor)][-1:])
    return 1


def overwriting(op: Op) -> Op:
    """Wrap an operator: what is known of a meta tensor that it may write into is forgotten."""

    @wraps(op)
    def forgetting(*args: Any, **named: Any) -> Any:
        result = op(*args, **named)
        trace = running()
        if trace is not None:
            trace.values.overwritten((*args, *named.values()))
        return result

    return forgetting


def _by_arguments(*forms: Op) -> Op:
    """Return the form of an operation that takes as many arguments as it is given."""
    by_count = {len(signature(form).parameters): on_values(form) for form in forms}

    def op(*args: Any) -> Any:
        form = by_count.get(len(args))
        if form is None:
            raise stopped(
                f"{forms[0].__name__} is called with {len(args)} arguments; bevdiag knows it with "
                f"{' or '.join(map(str, by_count))}",
                Remedy.KERNEL,
            )
        return form(*args)

    return wraps(forms[0])(op)


_FARTHEST = on_values(points.farthest_batch)
_GRADIENTS: dict[str, Op] = dict.fromkeys(
    (
        "group_points_grad_wrapper",
        "gather_points_grad_wrapper",
        "three_interpolate_grad_wrapper",
        "vector_pool_grad_wrapper",
    ),
    _gradient,
)
_POINTNET2_BATCH: dict[str, Op] = {
    **_GRADIENTS,
    "ball_query_wrapper": _by_arguments(
        neighbours.ball_query_batch, neighbours.counted_ball_query_batch
    ),
    "ball_query_dilated_wrapper": _by_arguments(
        neighbours.dilated_ball_query_batch, neighbours.counted_dilated_ball_query_batch
    ),
    "group_points_wrapper": on_values(points.group_batch),
    "gather_points_wrapper": on_values(points.gather_batch),
    "three_nn_wrapper": on_values(neighbours.three_nearest_batch),
    "three_interpolate_wrapper": on_values(points.interpolate_batch),
    "farthest_point_sampling_wrapper": _FARTHEST,
    "furthest_point_sampling_wrapper": _FARTHEST,
    **dict.fromkeys(
        ("furthest_point_sampling_with_dist_wrapper", "furthest_point_sampling_matrix_wrapper"),
        on_values(points.farthest_by_distance),
    ),
}
_POINTNET2_STACK: dict[str, Op] = {
    **_GRADIENTS,
    "ball_query_wrapper": on_values(neighbours.ball_query_stack),
    "ball_query_count_wrapper": on_values(neighbours.ball_query_stack_once),
    "group_points_wrapper": on_values(points.group_stack),
    "three_nn_wrapper": on_values(neighbours.three_nearest_stack),
    "three_interpolate_wrapper": on_values(points.interpolate_stack),
    "voxel_query_wrapper": on_values(neighbours.voxel_query),
    "farthest_point_sampling_wrapper": _FARTHEST,
    "furthest_point_sampling_wrapper": _FARTHEST,
    "stack_farthest_point_sampling_wrapper": on_values(points.farthest_stack),
    "query_stacked_local_neighbor_idxs_wrapper_stack": on_values(
        _stacked_neighbours, _unknown_neighbours
    ),
    "query_three_nn_by_stacked_local_idxs_wrapper_stack": on_values(
        neighbours.three_nearest_of_neighbours
    ),
    "vector_pool_wrapper": pooling.vector_pool,
}

_OPS: dict[str, dict[str, Op]] = {
    "iou3d_nms_cuda": {
        "boxes_overlap_bev_gpu": on_values(boxes.overlaps),
        "boxes_aligned_overlap_bev_gpu": on_values(boxes.aligned_overlaps),
        "paired_boxes_overlap_bev_gpu": on_values(boxes.aligned_overlaps),
        "boxes_iou_bev_gpu": on_values(boxes.ious),
        "boxes_iou_bev_cpu": on_values(boxes.ious),
        "boxes_aligned_iou_bev_cpu": on_values(boxes.aligned_ious),
        "nms_gpu": on_values(_counted(boxes.suppress), all_boxes_kept),
        "nms_normal_gpu": on_values(_counted(boxes.suppress_unturned), all_boxes_kept),
    },
    "ioubev_nms_cuda": {"nms_gpu": on_values(_counted(boxes.suppress_corners), all_boxes_kept)},
    "roiaware_pool3d_cuda": {
        "forward": on_values(rois.pool_cells, rois.expect_occupied_cells),
        "backward": _gradient,
        "points_in_boxes_gpu": on_values(rois.points_in_boxes_gpu),
        "points_in_boxes_cpu": on_values(rois.points_in_boxes_cpu),
    },
    "roipoint_pool3d_cuda": {"forward": on_values(rois.pool_points)},
    "pointnet2_stack_cuda": _POINTNET2_STACK,
    "pointnet2_batch_cuda": _POINTNET2_BATCH,
    "bev_pool_ext": {
        "bev_pool_forward": pooling.bev_pool,
        "bev_pool_backward": pooling.bev_pool_backward,
    },
    "ingroup_inds_cuda": {"forward": on_values(_ingroup_indices)},
    "ingroup_indices": {"forward": on_values(_ingroup_indices)},
    "selective_scan_cuda": {
        "fwd": scans.selective_scan,
        "bwd": scans.selective_scan_backward,
    },
    "causal_conv1d_cuda": {
        "causal_conv1d_fwd": scans.causal_conv,
        "causal_conv1d_bwd": scans.causal_conv_backward,
    },
    "sst_ops_cuda": {
        "ingroup_inds_wrapper": on_values(_ingroup_indices),
        "group_inner_inds_wrapper": on_values(_members),
    },
}
OPS = {module: {name: overwriting(op) for name, op in ops.items()} for module, ops in _OPS.items()}
"""Functions by the name of the extension module that holds them."""
