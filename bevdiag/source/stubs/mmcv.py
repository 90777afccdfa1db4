"""`mmcv._ext`: the compiled functions of mmcv by their definition, with what their C++ allocates.

And the extension modules of mmdetection3d before 1.0, of which mmcv took over the operators: their
C++ allocates the same (checked against that of 0.17), and they take their arguments in another
order, or boxes as they were written then.

Checked against csrc of mmcv 2.1. Functions whose wrapper allocates the outputs fill them; where
the C++ makes tensors of its own, its lines are followed in PyTorch, so that they are recorded.
"""

from collections.abc import Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bevdiag.errors import NoVerdictError
from bevdiag.scenes.batch import voxelize
from bevdiag.source.state import current
from bevdiag.source.stubs import boxes, mmcv_convs, neighbours, points
from bevdiag.source.stubs.compiled import Array, Filled, Ints, Op, array, compiled
from bevdiag.source.stubs.compiled_ops import OPS, all_boxes_kept, overwriting, suppressing
from bevdiag.source.stubs.inert import filled
from bevdiag.source.stubs.unknown_ops import Function, unknown_op
from bevdiag.trace.places import user_place

NAME = "mmcv._ext"

_RETURN_TENSORS = frozenset(
    (
        *("bias_act", "filtered_lrelu", "filtered_lrelu_act_", "fused_bias_leakyrelu", "upfirdn2d"),
        *("diff_iou_rotated_sort_vertices_forward", "nms_match", "nms_quadri", "softnms"),
        *("fused_indice_conv_forward", "contour_expand", "pixel_group"),
        *("get_indice_pairs_2d_backward", "get_indice_pairs_3d_backward"),
    )
)
"""Those of pybind.cpp that are not below and whose results only their kernels know the sizes of."""


def mmcv_modules() -> dict[str, ModuleType]:
    """Modules by name, ready for sys.modules: what is known, and all else as unknown operations."""

    def unknown(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return unknown_op(NAME, Function(name, name in _RETURN_TENSORS, ""))

    # Code that only asks whether the operators were compiled looks at the spec.
    known = {name: overwriting(op) for name, op in _OPS.items()}
    return {NAME: filled(NAME, __spec__=ModuleSpec(NAME, None), __getattr__=unknown, **known)}


def _filling(*args: Any, **_: Any) -> int:
    """Return a function of features: its wrapper has allocated what it fills, and nothing else is.

    Raises:
        NoVerdictError: the features have values, which it would have to compute.
    """
    if not any(isinstance(arg, Tensor) and arg.is_meta for arg in args):
        raise NoVerdictError(f"{user_place()}: an operation of {NAME} has no values on the CPU")
    return 1


def _sigmoid_focal_loss(
    scores: Array, target: Array, weight: Array, out: Filled, gamma: float, alpha: float
) -> None:
    """Scores [N, classes] before the sigmoid, targets [N]: losses [N, classes]."""
    chance = 1 / (1 + np.exp(-scores))
    hit = target[:, None] == np.arange(scores.shape[1])
    tiny = np.finfo(np.float32).tiny
    positive = alpha * (1 - chance) ** gamma * np.log(np.maximum(chance, tiny))
    negative = (1 - alpha) * chance**gamma * np.log(np.maximum(1 - chance, tiny))
    out[...] = -np.where(hit, positive, negative)
    if weight.size:
        out *= weight[target.clip(0, len(weight) - 1)][:, None]


# -- voxels ----------------------------------------------------------------------------------------


def hard_voxelize(
    cloud: Tensor,
    voxel_size: Tensor,
    coors_range: Tensor,
    voxels: Tensor,
    coors: Tensor,
    counts: Tensor,
    voxel_num: Tensor,
    max_points: int,
    max_voxels: int,
    NDim: int = 3,  # noqa: N803 - its name in C++
    deterministic: bool = True,
) -> None:
    """Points [N, F] into voxels [max_voxels, max_points, F], their z, y, x, and their counts.

    Voxels come in the order of their first points, and so do the points of each.
    """
    held = [cloud.new_zeros((len(cloud), NDim), dtype=torch.int32)]
    if deterministic:
        # point_to_pointidx, point_to_voxelidx, coor_to_voxelidx: -at::ones, of which both live.
        for _ in range(3):
            held.append(-cloud.new_ones(len(cloud), dtype=torch.int32))
        held.append(cloud.new_zeros(1, dtype=torch.int32))
    sizes, bounds = array(voxel_size), array(coors_range)
    low_x, low_y, low_z, high_x, high_y, high_z = map(float, bounds)
    limits = low_x, low_y, low_z, high_x, high_y, high_z
    cells = sizes.tolist(), _grid(sizes, bounds).tolist()
    found = voxelize(array(cloud), limits, *cells, max_points, max_voxels)
    count = len(found.coords)
    made = found.padded(), found.coords, found.num_points
    for room, values in zip((voxels, coors, counts), made, strict=True):
        array(room)[:count] = values
    array(voxel_num)[...] = count


def dynamic_voxelize(
    cloud: Array,
    voxel_size: Array,
    coors_range: Array,
    coors: Filled,
    NDim: int = 3,  # noqa: N803
) -> None:
    """Points [N, F] to z, y, x [N, 3]; -1 everywhere outside of the range."""
    sizes, bounds = (np.asarray(given, np.float32) for given in (voxel_size, coors_range))
    cells = np.floor((cloud[:, :3] - bounds[:3]) / sizes).astype(np.int64)
    inside = ((cells >= 0) & (cells < _grid(sizes, bounds))).all(axis=1)
    coors[...] = np.where(inside[:, None], cells[:, ::-1], -1)


def _grid(voxel_size: Array, coors_range: Array) -> Ints:
    """Return the grid's x, y, z."""
    cells: Ints = np.round((coors_range[3:] - coors_range[:3]) / voxel_size).astype(np.int64)
    return cells


def scatter_points(feats: Tensor, coors: Tensor, reduce_type: str) -> tuple[Tensor, ...]:
    """Features [N, C] of points and their cells [N, 3]: by cell, as `DynamicScatter` wants it.

    Returns:
        Reduced features [M, C], cells [M, 3], each point's row and each cell's count, int32.
    """
    clean = coors.masked_fill((coors < 0).any(-1, keepdim=True), -1)
    cells, rows, counts = torch.unique(clean, dim=0, return_inverse=True, return_counts=True)
    if len(cells) and bool((cells[0, 0] < 0).item()):
        cells, counts, rows = cells[1:], counts[1:], rows - 1
    rows, counts = rows.to(torch.int32), counts.to(torch.int32)
    reduced = feats.new_empty((len(cells), feats.shape[1]))
    if not feats.is_meta:
        _reduce(array(feats), array(rows), array(reduced), reduce_type)
    if reduce_type == "mean":
        reduced /= counts.unsqueeze(-1).to(reduced.dtype)
    return reduced, cells, rows, counts


def _reduce(feats: Array, rows: Array, out: Array, how: str) -> None:
    """Sum by row, or take the largest value of each; rows below 0 belong to no cell."""
    out[...] = -np.inf if how == "max" else 0
    inside = rows >= 0
    ufunc = np.maximum if how == "max" else np.add
    ufunc.at(out, rows[inside], feats[inside])


def scatter_points_backward(
    grad: Tensor,
    grad_reduced: Tensor,
    feats: Tensor,
    reduced: Tensor,
    rows: Tensor,
    counts: Tensor,
    reduce_type: str,
) -> None:
    """Of the largest values the C++ looks for the points that they came from."""
    if reduce_type == "max":
        rows.new_full((len(reduced), feats.shape[1]), len(feats), dtype=torch.int32)


# -- boxes -----------------------------------------------------------------------------------------


def points_in_first_box(boxes_: Array, cloud: Array, out: Filled) -> None:
    """Boxes [B, M, 7] about the centre of their bottom, points [B, N, 3]: rows [B, N], or -1."""
    for sample, inside in enumerate(_inside(boxes_, cloud)):
        out[sample] = np.where(inside.any(axis=0), inside.argmax(axis=0), -1)


def points_in_every_box(boxes_: Array, cloud: Array, out: Filled) -> None:
    """Mark the points in boxes as `points_in_first_box` takes them: 0 and 1, [B, N, M]."""
    for sample, inside in enumerate(_inside(boxes_, cloud)):
        out[sample] = inside.T


def points_in_boxes_of_host(boxes_: Array, cloud: Array, out: Filled) -> None:
    """Boxes [M, 7], points [N, 3]: 0 and 1, [M, N]."""
    out[...] = next(_inside(boxes_[None], cloud[None]))


def _inside(boxes_: Array, cloud: Array) -> Any:
    for of_sample, mine in zip(boxes_, cloud, strict=True):
        centred = of_sample.astype(np.float64)
        centred[:, 2] += centred[:, 5] / 2
        local = boxes.in_box_frames(centred, mine)
        yield (np.abs(local) < centred[:, None, 3:6] / 2).all(axis=-1)


def _box_iou_rotated(
    a: Array, b: Array, out: Filled, mode_flag: int = 0, aligned: bool = False
) -> None:
    """Boxes of x, y, width, height, angle: intersections over unions, or over the first's area."""
    what = boxes.OVER_FIRST if mode_flag else boxes.OVER_UNION
    boxes.compare(boxes.flat(a), boxes.flat(b), out, what, aligned)


def _bbox_overlaps(
    a: Array, b: Array, out: Filled, mode: int = 0, aligned: bool = False, offset: int = 0
) -> None:
    """Boxes of x1, y1, x2, y2; unions as areas, or the first's area alone in mode 1."""
    first, second = a[:, None] if not aligned else a, b[None] if not aligned else b
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.clip(high - low + offset, 0, None).prod(axis=-1)
    mine, theirs = ((box[..., 2:] - box[..., :2] + offset).prod(axis=-1) for box in (first, second))
    whole = mine if mode else mine + theirs - shared
    out.reshape(shared.shape)[...] = shared / np.maximum(whole, offset or 1e-8)


# -- suppression -----------------------------------------------------------------------------------


def nms(boxes_: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Boxes [N, 4] of x1, y1, x2, y2: the survivors' rows, best first."""
    order = scores.sort(0, descending=True)[1]
    sorted_boxes = boxes_.index_select(0, order)
    _mask(sorted_boxes)
    kept = _kept(sorted_boxes, iou_threshold, partial(boxes.cornered, offset=offset))
    return order[kept]


def nms_rotated(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    *others: Any,
    **named: Any,
) -> Tensor:
    """Boxes [N, 5 or 6] of x, y, width, height, angle and a label: the survivors' rows.

    The others are, since mmcv 2.1, labels, then the threshold and whether there are labels.
    """
    threshold = named["iou_threshold"] if "iou_threshold" in named else others[-2]
    _mask(dets_sorted)
    kept = _kept(dets_sorted, threshold, boxes.flat)
    return order[kept]


def _suppress(
    form: boxes.Form, boxes_: Tensor, keep: Tensor, keep_num: Tensor, nms_overlap_thresh: float
) -> None:
    """Boxes [N, ...], best first; `keep` [N] gets the survivors' rows, `keep_num` their number."""
    _mask(boxes_)
    kept = _kept(boxes_, nms_overlap_thresh, form)
    keep[: len(kept)] = kept
    array(keep_num)[...] = len(kept)


def nms_3d_unturned(boxes_: Tensor, *others: Any, **named: Any) -> None:
    """Suppress as if no box were turned."""
    unturned = boxes_.clone()
    unturned[:, 6] = 0
    _suppress(boxes.centred, unturned, *others, **named)


def _mask(rows: Tensor) -> Tensor:
    """Allocate the kernels' bits, 64 boxes of each box an int64, and a byte a box that survives."""
    rows.new_empty((len(rows), -(-len(rows) // 64)), dtype=torch.int64)
    return rows.new_zeros(len(rows), dtype=torch.bool)


def _kept(rows: Tensor, threshold: float, form: boxes.Form) -> Tensor:
    """Return the rows of the boxes [N, ...], best first, that survive: int64, with values."""
    with current().recorder.for_device():
        keep = torch.zeros(len(rows), dtype=torch.int64)
        if rows.is_meta:
            count = all_boxes_kept(rows, keep)
        else:
            count = boxes.suppress(form(array(rows)), array(keep), threshold)
        return keep[:count].clone()


_FILLING = dict.fromkeys(
    (
        *("gather_points_backward", "group_points_backward", "three_interpolate_backward"),
        *(f"roi_align{kind}_{way}" for kind in ("", "_rotated") for way in ("forward", "backward")),
        *("roiaware_pool3d_backward", "sigmoid_focal_loss_backward"),
        *("softmax_focal_loss_forward", "softmax_focal_loss_backward"),
        "stack_group_points_backward",
    ),
    _filling,
)


def _roiaware(boxes_: Tensor, cloud: Tensor, *others: Any, **named: Any) -> int:
    """Mark which points lie in which cell: [boxes, points], int32, as the C++ makes it."""
    boxes_.new_full((len(boxes_), len(cloud)), -1, dtype=torch.int32)
    return int(_POOL(boxes_, cloud, *others, **named))


_POOL = compiled(boxes.pool_cells, otherwise=boxes.expect_occupied_cells)
_COMPILED: dict[str, Op] = {
    "dynamic_voxelize_forward": dynamic_voxelize,
    "ball_query_forward": neighbours.ball_query_batch,
    "stack_ball_query_forward": neighbours.ball_query_stack,
    "stack_group_points_forward": points.group_stack,
    "furthest_point_sampling_forward": points.farthest_batch,
    "furthest_point_sampling_with_dist_forward": points.farthest_by_distance,
    "gather_points_forward": points.gather_batch,
    "group_points_forward": points.gather_batch,
    "three_nn_forward": neighbours.three_nearest_batch,
    "three_interpolate_forward": points.interpolate_batch,
    "points_in_boxes_part_forward": points_in_first_box,
    "points_in_boxes_all_forward": points_in_every_box,
    "points_in_boxes_cpu_forward": points_in_boxes_of_host,
    "iou3d_boxes_overlap_bev_forward": boxes.comparison(),
    "iou3d_boxes_iou_bev_forward": boxes.comparison(boxes.cornered, boxes.OVER_UNION),
    "box_iou_rotated": _box_iou_rotated,
    "bbox_overlaps": _bbox_overlaps,
    "sigmoid_focal_loss_forward": _sigmoid_focal_loss,
}
"""What gets its tensors in order and its sizes by name."""
_OPS: dict[str, Op] = {
    **_FILLING,
    **mmcv_convs.OPS,
    **{name: compiled(compute) for name, compute in _COMPILED.items()},
    "hard_voxelize_forward": hard_voxelize,
    "dynamic_point_to_voxel_forward": scatter_points,
    "dynamic_point_to_voxel_backward": scatter_points_backward,
    "iou3d_nms_forward": partial(_suppress, boxes.cornered),
    "iou3d_nms3d_forward": partial(_suppress, boxes.centred),
    "iou3d_nms3d_normal_forward": nms_3d_unturned,
    "nms": nms,
    "nms_rotated": nms_rotated,
    "roiaware_pool3d_forward": _roiaware,
    "get_compiler_version": lambda: "",
    "get_compiling_cuda_version": lambda: "",
}

# -- mmdetection3d before 1.0 ----------------------------------------------------------------------

_BATCH = OPS["pointnet2_batch_cuda"]
_ROIS = OPS["roiaware_pool3d_cuda"]


def _hard_voxelize_of_old(
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
    hard_voxelize(cloud, sizes, bounds, voxels, coors, counts, found, *limits)
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
    **{f"get_indice_pairs_{axes}d": mmcv_convs.indice_pairs for axes in (2, 3, 4)},
    **{
        f"indice_{name}_{kind}": op
        for kind in ("fp32", "half")
        for name, op in (
            ("conv", mmcv_convs.convolve),
            ("conv_backward", mmcv_convs.convolve_backward),
            ("maxpool", mmcv_convs.pool),
            ("maxpool_backward", mmcv_convs.pool_backward),
        )
    },
}
_OWN: dict[str, dict[str, Op]] = {
    "voxel_layer": {
        "hard_voxelize": _hard_voxelize_of_old,
        "dynamic_voxelize": compiled(dynamic_voxelize, "cloud coors voxel_size coors_range NDim"),
        "dynamic_point_to_voxel_forward": scatter_points,
        "dynamic_point_to_voxel_backward": scatter_points_backward,
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
        "points_in_boxes_gpu": _as_written_then(points_in_first_box),
        "points_in_boxes_batch": _as_written_then(points_in_every_box),
        "points_in_boxes_cpu": _as_written_then(points_in_boxes_of_host),
    },
    "ball_query_ext": {"ball_query_wrapper": _BATCH["ball_query_dilated_wrapper"]},
    "group_points_ext": _GROUPING,
    **dict.fromkeys(("furthest_point_sample_ext", "gather_points_ext", "interpolate_ext"), _BATCH),
}
EXTENSIONS = {**OPS, **_OWN}
"""Functions by the name of the extension module, those of other families among them."""
