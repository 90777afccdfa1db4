"""The compiled operations of OpenPCDet-style repositories, by module and C++ signature.

Their Python wrappers allocate the outputs and pass them in. Where all that an operation reads and
writes has values, it computes what the kernel would. On meta tensors most have nothing to do; what
decides counts is assumed. Gradients have no values in any case: a step goes backward on meta
tensors only.
"""

from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bevdiag.source.state import current, running
from bevdiag.source.stubs import boxes, kernels, neighbours, points
from bevdiag.source.stubs.compiled import (
    Array,
    Filled,
    Op,
    compiled,
    lose_values,
    ranks,
)
from bevdiag.trace.assumed_values import AssumedValues


def all_boxes_kept(boxes: Tensor, keep: Filled) -> int:
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


def _unknown_neighbours(
    points: Tensor, centres: Tensor, found: Tensor, total: Filled, reach: float, nsample: int
) -> int:
    """`total` int32 [1] gets the number of neighbours, unless it has no values either."""
    limit = nsample if nsample > 0 else neighbours.MOST_STACKED
    count = neighbours.assumed_pairs(points, centres, reach, limit, len(found))
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


def suppressing(form: boxes.Form, margin: float) -> Op:
    """Return the operator that suppresses boxes of a form; some hand over their GPU as well."""
    compute = boxes.suppression(form, margin)
    forms = "boxes keep threshold", "boxes keep threshold device"
    return compiled(compute, *forms, otherwise=all_boxes_kept)


_FARTHEST = compiled(points.farthest_batch, "b n m points scratch out")
_POINTNET2: dict[str, Op] = {
    **dict.fromkeys(
        (
            "group_points_grad_wrapper",
            "gather_points_grad_wrapper",
            "three_interpolate_grad_wrapper",
            "vector_pool_grad_wrapper",
        ),
        _gradient,
    ),
    "farthest_point_sampling_wrapper": _FARTHEST,
    "furthest_point_sampling_wrapper": _FARTHEST,
}
_POINTNET2_BATCH: dict[str, Op] = {
    **_POINTNET2,
    "ball_query_wrapper": compiled(
        neighbours.ball_query_batch,
        "b n m max_radius nsample centres points out",
        "b n m max_radius nsample centres points counts out",
    ),
    "ball_query_dilated_wrapper": compiled(
        neighbours.ball_query_batch,
        "b n m max_radius min_radius nsample centres points out",
        "b n m min_radius max_radius nsample centres points counts out",
    ),
    "group_points_wrapper": compiled(points.gather_batch, "b c n npoints nsample points rows out"),
    "gather_points_wrapper": compiled(points.gather_batch, "b c n npoints points rows out"),
    "three_nn_wrapper": compiled(neighbours.three_nearest_batch, "b n m unknown known squares out"),
    "three_interpolate_wrapper": compiled(
        points.interpolate_batch, "b c m n points rows weights out"
    ),
    **dict.fromkeys(
        ("furthest_point_sampling_with_dist_wrapper", "furthest_point_sampling_matrix_wrapper"),
        compiled(points.farthest_by_distance, "b n m squares scratch out"),
    ),
}
_BALLS = "b m max_radius nsample centres centre_counts points point_counts out"
_POINTNET2_STACK: dict[str, Op] = {
    **_POINTNET2,
    "ball_query_wrapper": compiled(neighbours.ball_query_stack, _BALLS),
    "ball_query_count_wrapper": compiled(neighbours.ball_query_stack_once, _BALLS),
    "group_points_wrapper": compiled(
        points.group_stack, "b m c nsample features feature_counts rows row_counts out"
    ),
    "three_nn_wrapper": compiled(neighbours.three_nearest_stack),
    "three_interpolate_wrapper": compiled(points.interpolate_stack),
    "voxel_query_wrapper": compiled(
        neighbours.voxel_query,
        "m depth height width nsample radius z_range y_range x_range centres points cells "
        "rows_of_cells out",
    ),
    "stack_farthest_point_sampling_wrapper": compiled(points.farthest_stack),
    "query_stacked_local_neighbor_idxs_wrapper_stack": compiled(
        neighbours.stacked_neighbours,
        "points point_counts centres centre_counts found start_len total average reach nsample "
        "kind",
        otherwise=_unknown_neighbours,
    ),
    "query_three_nn_by_stacked_local_idxs_wrapper_stack": compiled(
        neighbours.three_nearest_of_neighbours,
        "points centres grid_centres out squares found start_len m grids",
    ),
    "vector_pool_wrapper": points.vector_pool,
}
_AREAS, _IOUS = (compiled(boxes.comparison(what=w)) for w in (boxes.AREA, boxes.OVER_UNION))
_AREAS_BY_ROW, _IOUS_BY_ROW = (
    compiled(boxes.comparison(what=what, aligned=True)) for what in (boxes.AREA, boxes.OVER_UNION)
)

_OPS: dict[str, dict[str, Op]] = {
    "iou3d_nms_cuda": {
        "boxes_overlap_bev_gpu": _AREAS,
        "boxes_aligned_overlap_bev_gpu": _AREAS_BY_ROW,
        "paired_boxes_overlap_bev_gpu": _AREAS_BY_ROW,
        "boxes_iou_bev_gpu": _IOUS,
        "boxes_iou_bev_cpu": _IOUS,
        "boxes_aligned_iou_bev_cpu": _IOUS_BY_ROW,
        "nms_gpu": suppressing(boxes.centred, boxes.MARGIN),
        "nms_normal_gpu": suppressing(boxes.unturned, 0.0),
    },
    "ioubev_nms_cuda": {"nms_gpu": suppressing(boxes.cornered, boxes.OLD_MARGIN)},
    "roiaware_pool3d_cuda": {
        "forward": compiled(boxes.pool_cells, otherwise=boxes.expect_occupied_cells),
        "backward": _gradient,
        "points_in_boxes_gpu": compiled(boxes.points_in_boxes_gpu),
        "points_in_boxes_cpu": compiled(boxes.points_in_boxes_cpu),
    },
    "roipoint_pool3d_cuda": {"forward": compiled(boxes.pool_points)},
    "pointnet2_stack_cuda": _POINTNET2_STACK,
    "pointnet2_batch_cuda": _POINTNET2_BATCH,
    "bev_pool_ext": {
        "bev_pool_forward": points.bev_pool,
        "bev_pool_backward": points.bev_pool_backward,
    },
    "ingroup_inds_cuda": {"forward": compiled(_ingroup_indices)},
    "ingroup_indices": {"forward": compiled(_ingroup_indices)},
    "selective_scan_cuda": {
        "fwd": kernels.selective_scan,
        "bwd": kernels.selective_scan_backward,
    },
    "causal_conv1d_cuda": {
        "causal_conv1d_fwd": kernels.causal_conv,
        "causal_conv1d_bwd": kernels.causal_conv_backward,
    },
    "sst_ops_cuda": {
        "ingroup_inds_wrapper": compiled(_ingroup_indices),
        "group_inner_inds_wrapper": compiled(_members),
    },
}
OPS = {module: {name: overwriting(op) for name, op in ops.items()} for module, ops in _OPS.items()}
"""Functions by the name of the extension module that holds them."""
