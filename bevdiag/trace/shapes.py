"""Outputs of the commonest operations on meta tensors, made directly.

PyTorch works out the shapes of most meta operations in Python, at 0.1 to 3 ms each, which is most
of a trace's time. Where all operands agree in shape, strides and type there is nothing to work
out. Every rule here gives what PyTorch's own gives; the tests hold each against it.
"""

from typing import Any

import torch

from bevdiag.trace.elementwise import ELEMENTWISE, Shape, overloads
from bevdiag.trace.operands import as_meta

aten = torch.ops.aten
_META = torch.device("meta")


def _dense(shape: Any, tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype or tensor.dtype, device="meta")


def _agree(tensors: list[torch.Tensor]) -> bool:
    """Whether all are dense meta tensors of one layout and one floating type."""
    first = tensors[0]
    return (
        first.is_floating_point()
        and first.is_contiguous()
        and all(
            t.is_meta
            and t.dtype is first.dtype
            and t.shape == first.shape
            and t.stride() == first.stride()
            for t in tensors
        )
    )


def _fill_like(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """zeros_like, ones_like and empty_like."""
    tensor = args[0]
    device = kwargs.get("device")
    if not (tensor.is_meta and tensor.is_contiguous() and device in (None, _META)):
        return NotImplemented
    if kwargs.get("memory_format") not in (None, torch.preserve_format):
        return NotImplemented
    return _dense(tensor.shape, tensor, kwargs.get("dtype"))


def _cat(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors, axis = args[0], args[1] if len(args) > 1 else 0
    first = tensors[0]
    if not all(
        t.is_meta and t.is_contiguous() and t.dim() == first.dim() > 0 and t.dtype is first.dtype
        for t in tensors
    ):
        return NotImplemented
    axis %= first.dim()
    others = {(*t.shape[:axis], *t.shape[axis + 1 :]) for t in tensors}
    if len(others) > 1:
        return NotImplemented
    length = sum(t.shape[axis] for t in tensors)
    return _dense((*first.shape[:axis], length, *first.shape[axis + 1 :]), first)


def _softmax(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data, half_to_float = args[0], args[2]
    return NotImplemented if half_to_float or not _agree([data]) else as_meta(data)


def _foreach(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = args[0]
    if not all(t.is_meta and t.is_contiguous() for t in tensors):
        return NotImplemented
    return [as_meta(t) for t in tensors]


def _foreach_in_place(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return None if all(t.is_meta for t in args[0]) else NotImplemented


def _wanted(tensors: tuple[torch.Tensor, ...], mask: list[bool]) -> tuple[Any, ...]:
    return tuple(as_meta(t) if wanted else None for t, wanted in zip(tensors, mask, strict=True))


def _layer_norm(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data, normalized_shape = args[:2]
    if not (data.is_meta and data.is_contiguous() and data.dtype is torch.float32):
        return NotImplemented
    kept = data.dim() - len(normalized_shape)
    statistics = (*data.shape[:kept], *(1,) * len(normalized_shape))
    return as_meta(data), _dense(statistics, data), _dense(statistics, data)


def _layer_norm_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    grad, data, _, _, _, weight, bias, mask = args
    if not _agree([grad, data]) or weight is None or bias is None:
        return NotImplemented
    return _wanted((data, weight, bias), mask)


def _batch_norm(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data, weight, training = args[0], args[1], args[5]
    if not (training and weight is not None and data.is_meta and data.is_contiguous()):
        return NotImplemented
    # Statistics of a half-precision map are float32.
    if not data.dtype is weight.dtype is torch.float32:
        return NotImplemented
    return as_meta(data), as_meta(weight), as_meta(weight)


def _batch_norm_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    grad, data, weight = args[:3]
    if weight is None or not _agree([grad, data]) or data.dtype is not weight.dtype:
        return NotImplemented
    return _wanted((data, weight, weight), args[9])


def _product(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """mm, addmm, bmm and baddbmm: the last two operands decide the dense result."""
    left, right = args[-2:]
    kinds = {(t.is_meta, t.dtype) for t in args}
    if kwargs or len(kinds) != 1 or not left.is_meta or left.dim() != right.dim():
        return NotImplemented
    if left.shape[-1] != right.shape[-2] or left.shape[:-2] != right.shape[:-2]:
        return NotImplemented
    shape = (*left.shape[:-1], right.shape[-1])
    addable = (shape, shape[-1:], (*shape[:-2], 1, shape[-1]))
    if len(args) == 3 and tuple(args[0].shape) not in addable:
        return NotImplemented
    return _dense(shape, left)


_FOREACH_IN_PLACE = overloads(
    *("_foreach_add_.Scalar", "_foreach_add_.List", "_foreach_mul_.Scalar", "_foreach_mul_.Tensor"),
    *("_foreach_lerp_.Scalar", "_foreach_addcmul_.Scalar", "_foreach_addcdiv_.Scalar"),
    *("_foreach_addcdiv_.ScalarList", "_foreach_div_.Scalar", "_foreach_div_.ScalarList"),
)

SHAPES: dict[Any, Shape] = {
    **ELEMENTWISE,
    **dict.fromkeys(_FOREACH_IN_PLACE, _foreach_in_place),
    **dict.fromkeys(
        (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default), _product
    ),
    **dict.fromkeys(
        (aten.empty_like.default, aten.zeros_like.default, aten.ones_like.default), _fill_like
    ),
    aten.cat.default: _cat,
    aten._foreach_sqrt.default: _foreach,
    aten._softmax.default: _softmax,
    aten.native_layer_norm.default: _layer_norm,
    aten.native_layer_norm_backward.default: _layer_norm_backward,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
}


def outputs_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what `func` returns for these meta operands."""
    shape = SHAPES.get(func)
    if shape is not None:
        result = shape(args, kwargs)
        if result is not NotImplemented:
            return result
    return func(*args, **kwargs)
