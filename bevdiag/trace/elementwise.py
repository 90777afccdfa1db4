"""What elementwise operations return on the meta device, where that is plain.

PyTorch broadcasts, promotes types and orders axes in Python. Where the operands are of one type
and their axes lie in order, the result is dense: its shape is all that is to be found.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import torch

aten = torch.ops.aten


def _rank(value: torch.Tensor | bool | int | float) -> int:
    """Return the category that type promotion knows: bool below integers below floats."""
    if isinstance(value, torch.Tensor):
        return 2 if value.is_floating_point() else int(value.dtype is not torch.bool)
    return 2 if isinstance(value, float) else int(not isinstance(value, bool))


def _broadcast(tensors: list[torch.Tensor]) -> tuple[int, ...] | None:
    """Return the common shape, None where there is none."""
    shape: list[int] = []
    for column in zip_longest(*(reversed(t.shape) for t in tensors), fillvalue=1):
        sizes = set(column) - {1}
        if len(sizes) > 1:
            return None
        shape.append(sizes.pop() if sizes else 1)
    return tuple(reversed(shape))


def _in_order(tensor: torch.Tensor) -> bool:
    """Whether its axes lie in memory as they are counted; gaps do not matter."""
    if tensor.is_contiguous():
        return True
    strides = [stride for stride in tensor.stride() if stride]
    return all(a > b for a, b in pairwise(strides))


def _common(operands: Sequence[Any]) -> tuple[tuple[int, ...], torch.dtype] | None:
    """Shape and type of the dense result of an elementwise operation, None where it is intricate.

    Tensors of one type decide on the type; numbers and tensors without axes bend to them if they
    are of no higher category.
    """
    tensors = [o for o in operands if isinstance(o, torch.Tensor)]
    shaped = [t for t in tensors if t.dim()]
    if not shaped:
        return None
    dtype = shaped[0].dtype
    rank = _rank(shaped[0])
    if not all(t.is_meta and t.dtype is dtype and _in_order(t) for t in shaped):
        return None
    if any(_rank(o) > rank for o in operands if isinstance(o, torch.Tensor | bool | int | float)):
        return None
    shape = _broadcast(shaped)
    return None if shape is None or dtype.is_complex else (shape, dtype)


def _numeric(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    common = _common((*args, *kwargs.values()))
    if common is None or common[1] is torch.bool:
        return NotImplemented
    return torch.empty(common[0], dtype=common[1], device="meta")


def _floating(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    common = _common((*args, *kwargs.values()))
    if common is None or not common[1].is_floating_point:
        return NotImplemented
    return torch.empty(common[0], dtype=common[1], device="meta")


def _gradient(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # threshold_backward lets a tensor without axes raise the type.
    shaped = all(a.dim() for a in args if isinstance(a, torch.Tensor))
    return _floating(args, kwargs) if shaped else NotImplemented


def _comparison(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    common = _common((*args, *kwargs.values()))
    if common is None:
        return NotImplemented
    return torch.empty(common[0], dtype=torch.bool, device="meta")


def _where(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    condition, *values = args
    common = _common(values)
    if common is None or not (condition.is_meta and _in_order(condition)):
        return NotImplemented
    shape = _broadcast([condition, torch.empty(common[0], device="meta")])
    return NotImplemented if shape is None else torch.empty(shape, dtype=common[1], device="meta")


def _in_place(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    common = _common((*args, *kwargs.values()))
    target = args[0]
    if common is None or not target.is_floating_point() or common[0] != tuple(target.shape):
        return NotImplemented
    return target


_NUMERIC = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.rsub.Scalar,
    aten.maximum.default,
    aten.minimum.default,
    aten.clamp.default,
    aten.clamp_min.default,
    aten.relu.default,
    aten.abs.default,
    aten.neg.default,
    aten.floor.default,
)
_FLOATING = (
    aten.div.Tensor,
    aten.pow.Tensor_Scalar,
    aten.sqrt.default,
    aten.exp.default,
    aten.log.default,
    aten.gelu.default,
    aten.sigmoid.default,
)
_GRADIENTS = (
    aten.threshold_backward.default,
    aten.gelu_backward.default,
    aten.sigmoid_backward.default,
)
_COMPARISONS = (
    aten.gt.Scalar,
    aten.ge.Scalar,
    aten.lt.Scalar,
    aten.eq.Scalar,
    aten.ne.Scalar,
    aten.gt.Tensor,
    aten.eq.Tensor,
)
_IN_PLACE = (
    aten.add_.Tensor,
    aten.sub_.Tensor,
    aten.mul_.Tensor,
    aten.div_.Tensor,
    aten.relu_.default,
)

ELEMENTWISE: dict[Any, Callable[[tuple[Any, ...], dict[str, Any]], Any]] = {
    **dict.fromkeys(_NUMERIC, _numeric),
    **dict.fromkeys(_FLOATING, _floating),
    **dict.fromkeys(_GRADIENTS, _gradient),
    **dict.fromkeys(_COMPARISONS, _comparison),
    aten.where.self: _where,
    **dict.fromkeys(_IN_PLACE, _in_place),
}
"""By operation: its outputs, or NotImplemented where PyTorch has to be asked."""
