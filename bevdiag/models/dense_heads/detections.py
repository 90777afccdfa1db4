"""What an evaluation makes of a head's predictions: the best boxes, and which of them stay.

How many boxes pass a threshold and how many overlap is decided by trained weights. Here all pass
and as many stay as may: an upper end. It decides no peak, as the maps before it are larger.
Overlaps are found by an operator whose memory is not PyTorch's. After OpenPCDet's
detector3d_template.py, model_nms_utils.py and centernet_utils.py.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from bevdiag.config import Document
from bevdiag.config.model_settings import DataSettings
from bevdiag.models.contracts import Detections, Limits
from bevdiag.models.dense_heads.center_losses import gather_cells
from bevdiag.models.sized_ops import nonzero

_PLACES = ("MODEL.DENSE_HEAD.POST_PROCESSING", "MODEL.POST_PROCESSING")


def limits_of(document: Document) -> Limits:
    """Return what the config lets through; the head's own words come before the model's."""
    found: dict[str, object] = {}
    for place in reversed(_PLACES):
        written = document.get(place)
        if isinstance(written, Mapping):
            nms = written.get("NMS_CONFIG")
            found |= {**written, **(nms if isinstance(nms, Mapping) else {})}
    plain = Limits()
    return Limits(
        before=_most(found.get("NMS_PRE_MAXSIZE"), plain.before),
        after=_most(found.get("NMS_POST_MAXSIZE"), plain.after),
        objects=_most(found.get("MAX_OBJ_PER_SAMPLE"), plain.objects),
    )


def _most(written: object, otherwise: int) -> int:
    """Return the number, the largest of a class's each, or `otherwise` where there is none."""
    counts = written if isinstance(written, (list, tuple)) else (written,)
    return max((n for n in counts if type(n) is int and n > 0), default=otherwise)


def decode(codes: Tensor, anchors: Tensor, by_sincos: bool) -> Tensor:
    """Return the boxes [B, n, 7+] that codes mean as seen from anchors, both [B, n, 7+]."""
    xa, ya, za, dxa, dya, dza, ra, *others_a = torch.split(anchors, 1, dim=-1)
    xt, yt, zt, dxt, dyt, dzt, *turns = torch.split(codes, 1, dim=-1)
    diagonal = torch.sqrt(dxa**2 + dya**2)
    place = [xt * diagonal + xa, yt * diagonal + ya, zt * dza + za]
    extent = [torch.exp(dxt) * dxa, torch.exp(dyt) * dya, torch.exp(dzt) * dza]
    if by_sincos:
        cos, sin, *others_t = turns
        cos, sin = cos + torch.cos(ra), sin + torch.sin(ra)
        heading = torch.atan2(sin, cos)
    else:
        heading, *others_t = turns
        heading = heading + ra
    others = [t + a for t, a in zip(others_t, others_a, strict=True)]
    return torch.cat([*place, *extent, heading, *others], dim=-1)


def best_of_anchors(scores: Tensor, boxes: Tensor, limits: Limits) -> Detections:
    """Return what stays of a sample's anchors, rated [n, classes] and decoded [n, 7+]."""
    rated, labels = torch.max(scores, dim=-1)
    labels = labels + 1
    passes = rated >= 0
    kept = suppressed(rated[_rows(passes)], boxes[_rows(passes)], limits)
    chosen = _rows(passes)[kept]
    return {"boxes": boxes[chosen], "scores": rated[chosen], "labels": labels[chosen]}


def _rows(mask: Tensor) -> Tensor:
    """Return the places [n] of a mask's true values, as indexing by it makes them."""
    return nonzero(mask, len(mask))[:, 0]


def suppressed(scores: Tensor, boxes: Tensor, limits: Limits) -> Tensor:
    """Return the places of the boxes that stay, best first: [at most `limits.after`]."""
    best, places = torch.topk(scores, k=min(limits.before, len(scores)))
    candidates = boxes[places]
    order = best.sort(0, descending=True)[1][: limits.before]
    _ = candidates[:, 0:7][order].contiguous()
    kept = torch.arange(min(limits.after, len(order)), device=order.device)
    return places[order[kept].contiguous()]


def best_peaks(
    predicted: dict[str, Tensor], stride: int, data: DataSettings, limits: Limits
) -> list[Detections]:
    """Return the boxes at the highest peaks of a centre head's maps, sample by sample.

    Args:
        predicted: each branch's map, [B, C, H, W].
        stride: cells of the grid that one of the map spans.
        data: the grid.
        limits: how many peaks a sample has.
    """
    heat = predicted["hm"].sigmoid()
    batch_size, _, height, width = heat.shape
    count = min(limits.objects, height * width)
    scores, places = torch.topk(heat.flatten(2, 3), count)
    places = places % (height * width)
    ys, xs = (places // width).float(), (places % width).int().float()
    score, best = torch.topk(scores.view(batch_size, -1), count)
    labels = (best // count).int()
    places, ys, xs = (values.view(batch_size, -1).gather(1, best) for values in (places, ys, xs))
    centre = gather_cells(predicted["center"], places)
    sin = gather_cells(predicted["rot"][:, 1].unsqueeze(dim=1), places)
    cos = gather_cells(predicted["rot"][:, 0].unsqueeze(dim=1), places)
    z = gather_cells(predicted["center_z"], places)
    extent = gather_cells(predicted["dim"].exp(), places)
    low, size = data.point_cloud_range, data.voxel_size
    x = (xs.unsqueeze(2) + centre[:, :, 0:1]) * stride * size[0] + low[0]
    y = (ys.unsqueeze(2) + centre[:, :, 1:2]) * stride * size[1] + low[1]
    parts = [x, y, z, extent, torch.atan2(sin, cos)]
    if "vel" in predicted:
        parts.append(gather_cells(predicted["vel"], places))
    boxes = torch.cat(parts, dim=-1)
    passes = score >= 0
    return [
        {
            name: values[sample][_rows(passes[sample])]
            for name, values in (("boxes", boxes), ("scores", score), ("labels", labels))
        }
        for sample in range(batch_size)
    ]
