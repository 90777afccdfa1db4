"""The boxes that a first stage proposes: with values, so that sampling and matching run for real.

What a detector proposes in training lies near the objects by half, and that decides the counts of
every later tensor. A trace has no values for it, and a model with initial weights proposes
anything. So what a first stage hands on keeps its memory and gets boxes around the ground truth's.
"""

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from bevdiag.source.state import current

_FIRST_STAGE, _METHOD = "rpn_head", "loss_and_predict"
_TRUTHS = ("gt_instances_3d", "gt_instances")
_SHIFTS = (0.0, 0.0, 0.4, 3.0)
"""By how many of its own lengths a proposal lies off its box: half on it, a quarter beside it and
a quarter elsewhere."""
_STEP = 0.004
"""By how many lengths each further proposal of the same kind lies off."""
_PLANE = 4
"""Values of a box in an image: x1, y1, x2, y2."""


def with_proposals(model: nn.Module) -> nn.Module:
    """Have a model's first stages hand on boxes with values; return it."""
    for name, module in model.named_modules():
        method = getattr(module, _METHOD, None)
        if name.endswith(_FIRST_STAGE) and method is not None:
            object.__setattr__(module, _METHOD, _proposing(method))
    return model


def _proposing(method: Any) -> Any:
    """Wrap the method of a head that returns losses and a result for each sample."""

    def propose(*args: Any, **named: Any) -> Any:
        # Taken now: the losses may put other things in the samples.
        truths = [_truth(sample) for sample in _samples(args)]
        losses, results = method(*args, **named)
        for result, (boxes, labels) in zip(results, truths, strict=False):
            if len(boxes):
                _fill(result, boxes, labels)
        return losses, results

    return propose


def _samples(args: tuple[Any, ...]) -> Any:
    """Return the data samples among a method's arguments; none where they are not."""
    lists = (value for value in args if isinstance(value, (list, tuple)) and value)
    return next((value for value in lists if any(hasattr(value[0], key) for key in _TRUTHS)), ())


def _truth(sample: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a sample's boxes, [M, 7 or more] in space or [M, 4] in its image, and labels [M]."""
    if "gt_instances_3d" in sample and "bboxes_3d" in sample.gt_instances_3d:
        found = sample.gt_instances_3d
        return getattr(found.bboxes_3d, "tensor", found.bboxes_3d), found.labels_3d
    found = sample.gt_instances
    return getattr(found.bboxes, "tensor", found.bboxes), found.labels


def _fill(result: Any, boxes: torch.Tensor, labels: torch.Tensor) -> None:
    """Give a sample's result values; one that holds no boxes stays as it is."""
    if hasattr(result, "bboxes_3d"):
        holder, key, ending = result.bboxes_3d, "tensor", "_3d"
    elif hasattr(result, "bboxes"):
        holder, key, ending = result, "bboxes", ""
    else:
        return
    tensor = getattr(holder, key)
    with _disable_current_modes():
        rows = torch.arange(len(tensor)) % len(boxes)
        values = {
            f"labels{ending}": labels[rows],
            f"scores{ending}": torch.linspace(0.9, 0.1, len(tensor)),
        }
        setattr(holder, key, _standing_for(tensor, near(boxes, tensor)))
        for name, given in values.items():
            if name in result:
                result[name] = _standing_for(result[name], given)


def near(boxes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Make boxes around others.

    Args:
        boxes: the ground truth's, [M, at least as many values as are asked for, or 7].
        like: as many boxes as are wanted, [N, D].

    Returns:
        [N, D], the boxes in turn, each by one of the shifts off.
    """
    number = torch.arange(len(like))
    turn = number // len(boxes)
    made = torch.zeros(like.shape, dtype=like.dtype)
    columns = min(boxes.shape[1], like.shape[1])
    made[:, :columns] = boxes.detach()[number % len(boxes), :columns].to(like.dtype)
    in_image = boxes.shape[1] == _PLANE
    length = made[:, 2] - made[:, 0] if in_image else made[:, 3]
    shift = length * (torch.tensor(_SHIFTS)[turn % len(_SHIFTS)] + _STEP * (turn // len(_SHIFTS)))
    made[:, 0] += shift
    if in_image:
        made[:, 2] += shift
    return made


def _standing_for(tensor: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return the values in the memory of a tensor, as long as they are there."""
    values = values.detach().to(tensor.dtype).clone()
    current().recorder.share(tensor, values)
    return values
