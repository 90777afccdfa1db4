"""What elementwise operations return on the meta device, where that is plain.

PyTorch broadcasts, promotes types and orders axes in Python. Where the operands are of one type
and their axes lie in order, the result is dense: its shape is all that is to be found.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import torch

aten = torch.ops.aten
Shape = Callable[[tuple[Any, ...], dict[str, Any]], Any]


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


def _dense(allows: Callable[[torch.dtype], bool], made: torch.dtype | None = None) -> Shape:
    """Return the rule of what makes a dense result where the operands' common type is one of these.

    Args:
        allows: tells which.
        made: the result's type, None for the common one.
    """

    def rule(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        common = _common((*args, *kwargs.values()))
        if common is None or not allows(common[1]):
            return NotImplemented
        return torch.empty(common[0], dtype=made or common[1], device="meta")

    return rule


_numeric = _dense(lambda dtype: dtype is not torch.bool)
_floating = _dense(lambda dtype: dtype.is_floating_point)
_comparison = _dense(lambda dtype: True, torch.bool)


def _gradient(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # threshold_backward lets a tensor without axes raise the type.
    shaped = all(a.dim() for a in args if isinstance(a, torch.Tensor))
    return _floating(args, kwargs) if shaped else NotImplemented


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


def overloads(*names: str) -> list[Any]:
    """Return aten's operations of these names, such as "add.Tensor"."""
    return [getattr(getattr(aten, op), kind) for op, kind in (name.split(".") for name in names)]


_NUMERIC = overloads(
    *("add.Tensor", "sub.Tensor", "mul.Tensor", "rsub.Scalar", "maximum.default"),
    *("minimum.default", "clamp.default", "clamp_min.default", "relu.default"),
    *("abs.default", "neg.default", "floor.default"),
)
_FLOATING = overloads(
    *("div.Tensor", "pow.Tensor_Scalar", "sqrt.default", "exp.default", "log.default"),
    *("gelu.default", "sigmoid.default"),
)
_GRADIENTS = overloads(
    "threshold_backward.default", "gelu_backward.default", "sigmoid_backward.default"
)
_COMPARISONS = overloads(
    *("gt.Scalar", "ge.Scalar", "lt.Scalar", "eq.Scalar", "ne.Scalar", "gt.Tensor", "eq.Tensor")
)
_IN_PLACE = overloads("add_.Tensor", "sub_.Tensor", "mul_.Tensor", "div_.Tensor", "relu_.default")

ELEMENTWISE: dict[Any, Shape] = {
    **dict.fromkeys(_NUMERIC, _numeric),
    **dict.fromkeys(_FLOATING, _floating),
    **dict.fromkeys(_GRADIENTS, _gradient),
    **dict.fromkeys(_COMPARISONS, _comparison),
    aten.where.self: _where,
    **dict.fromkeys(_IN_PLACE, _in_place),
}
"""By operation: its outputs, or NotImplemented where PyTorch has to be asked."""
