"""What is kept against PyTorch's own shape functions, the first time and again."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from bevdiag.trace.shapes import RULES, outputs_of

aten = torch.ops.aten
Make = Callable[[], Tensor]


def _plain(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(4, 6, 5, dtype=dtype, device="meta")


def _transposed() -> Tensor:
    return torch.empty(5, 6, 4, device="meta").permute(2, 1, 0)


def _slice() -> Tensor:
    return torch.empty(4, 6, 10, device="meta")[..., ::2]


OPERANDS: dict[str, Make] = {
    "plain": _plain,
    "half": lambda: _plain(torch.float16),
    "double": lambda: _plain(torch.float64),
    "integer": lambda: _plain(torch.int64),
    "transposed": _transposed,
    "slice": _slice,
    "scalar": lambda: torch.empty((), device="meta"),
    "row": lambda: torch.empty(5, device="meta"),
    "column": lambda: torch.empty(4, 6, 1, device="meta"),
    "boolean": lambda: _plain(torch.bool),
    "gaps": lambda: torch.empty(4, 6, 5, 3, device="meta")[..., 1],
    "gaps in one axis": lambda: torch.empty(5, 3, device="meta")[:, 1],
    "one column": lambda: torch.empty(1, 5, 6, device="meta").mT,
    "none": lambda: torch.empty(0, 6, 5, device="meta"),
}

_BINARY = [
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.maximum.default,
    aten.minimum.default,
    aten.gt.Tensor,
    aten.eq.Tensor,
    aten.threshold_backward.default,
    aten.gelu_backward.default,
    aten.sigmoid_backward.default,
]
_UNARY = [
    aten.relu.default,
    aten.gelu.default,
    aten.sigmoid.default,
    aten.exp.default,
    aten.log.default,
    aten.abs.default,
    aten.neg.default,
    aten.floor.default,
    aten.sqrt.default,
    aten.empty_like.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.relu_.default,
]
_IN_PLACE = [aten.add_.Tensor, aten.sub_.Tensor, aten.mul_.Tensor, aten.div_.Tensor]
_WITH_NUMBERS = [
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    *_IN_PLACE,
    aten.pow.Tensor_Scalar,
    aten.rsub.Scalar,
    aten.clamp.default,
    aten.clamp_min.default,
    aten.gt.Scalar,
    aten.ge.Scalar,
    aten.lt.Scalar,
    aten.eq.Scalar,
    aten.ne.Scalar,
]
_MASKS: list[Make] = [
    lambda: _plain(torch.bool),
    lambda: torch.empty(4, 1, 1, dtype=torch.bool, device="meta"),
    lambda: torch.empty(5, 6, 4, dtype=torch.bool, device="meta").permute(2, 1, 0),
]
_LAST: dict[Any, tuple[Any, ...]] = {aten.threshold_backward.default: (0,)}


def _arguments(func: Any) -> Iterator[Callable[[], tuple[Any, ...]]]:
    """What makes the arguments: fresh ones each time, as some functions write into theirs."""
    if func in (*_BINARY, *_IN_PLACE):
        for first, second in product(OPERANDS.values(), repeat=2):
            yield lambda f=first, s=second: (f(), s(), *_LAST.get(func, ()))
    if func is aten.cat.default:
        for first, second, axis in product(
            OPERANDS.values(), list(OPERANDS.values())[::3], (0, -1)
        ):
            yield lambda f=first, s=second, a=axis: ([f(), s(), f()], a)
    if func is aten.where.self:
        for mask, first, second in product(_MASKS, OPERANDS.values(), list(OPERANDS.values())[::3]):
            yield lambda m=mask, f=first, s=second: (m(), f(), s())
    if func in _PRODUCTS:
        yield from _products(func)
    for name, operand in OPERANDS.items():
        normal = name not in ("scalar", "integer")
        if func in _UNARY:
            yield lambda o=operand: (o(),)
        elif func in _WITH_NUMBERS:
            yield lambda o=operand: (o(), 2)
            yield lambda o=operand: (o(), 0.5)
        elif func is aten._softmax.default and normal:
            yield lambda o=operand: (o(), -1, False)
            if name == "half":
                yield lambda o=operand: (o(), -1, True)
        elif func is aten.native_layer_norm.default and normal:
            yield from _layer_norms(operand)
        elif func is aten.native_batch_norm.default and operand().dim() > 1:
            yield from _batch_norms(operand)


_PRODUCTS: dict[Any, tuple[list[tuple[int, ...]], tuple[int, ...]]] = {
    aten.mm.default: ([], ()),
    aten.addmm.default: ([(5,), (4, 5), (1, 5), (4, 1), (1,), (3, 5)], ()),
    aten.bmm.default: ([], (7,)),
    aten.baddbmm.default: ([(7, 4, 5), (7, 1, 5), (5,), (1, 4, 5), (7, 3, 5)], (7,)),
}


def _products(func: Any) -> Iterator[Callable[[], tuple[Any, ...]]]:
    addends, batch = _PRODUCTS[func]

    def operand(shape: tuple[int, ...], dtype: torch.dtype, strided: bool) -> Tensor:
        if strided:
            return torch.empty(*batch, *shape[::-1], dtype=dtype, device="meta").mT
        return torch.empty(*batch, *shape, dtype=dtype, device="meta")

    def arguments(
        addend: tuple[int, ...] | None, inner: int, dtype: torch.dtype, strided: bool
    ) -> tuple[Any, ...]:
        factors = operand((4, 6), dtype, strided), operand((inner, 5), dtype, not strided)
        if addend is None:
            return factors
        return torch.empty(addend, dtype=dtype, device="meta"), *factors

    for addend, inner, dtype, strided in product(
        addends or [None], (6, 3), (torch.float32, torch.float16), (True, False)
    ):
        yield partial(arguments, addend, inner, dtype, strided)


def _layer_norms(operand: Make) -> Iterator[Callable[[], tuple[Any, ...]]]:
    def arguments(dims: int, affine: bool) -> tuple[Any, ...]:
        data = operand()
        shape = list(data.shape[-dims:])
        weight = torch.empty(shape, dtype=data.dtype, device="meta") if affine else None
        return (data, shape, weight, weight, 1e-5)

    for dims, affine in product(range(1, operand().dim() + 1), (True, False)):
        yield partial(arguments, dims, affine)


def _batch_norms(operand: Make) -> Iterator[Callable[[], tuple[Any, ...]]]:
    def arguments(dtype: torch.dtype | None, training: bool) -> tuple[Any, ...]:
        data = operand()
        weight = torch.empty(data.shape[1], dtype=dtype, device="meta") if dtype else None
        running = None if training else torch.empty(data.shape[1], device="meta")
        return (data, weight, weight, running, running, training, 0.1, 1e-5)

    for dtype, training in product((torch.float32, torch.float16, None), (True, False)):
        yield partial(arguments, dtype, training)


def _same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, (tuple, list)):
        assert type(ours) is type(theirs)
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            _same(our, their)
    elif theirs is None:
        assert ours is None
    else:
        assert ours.shape == theirs.shape
        assert ours.stride() == theirs.stride()
        assert ours.dtype is theirs.dtype
        assert ours.is_meta


_OTHERS = [
    aten.cat.default,
    aten.where.self,
    aten._softmax.default,
    aten.native_layer_norm.default,
    aten.native_batch_norm.default,
]
_ALL = dict.fromkeys([*_BINARY, *_UNARY, *_WITH_NUMBERS, *_PRODUCTS, *_OTHERS])


@pytest.mark.parametrize("func", _ALL, ids=str)
def test_answers_are_what_pytorch_gives(func: Any) -> None:
    compared = 0
    for make in _arguments(func):
        try:
            theirs = func(*make())
        except (RuntimeError, IndexError, AssertionError) as refusal:
            # What PyTorch refuses, an in-place result of another shape say, stays refused.
            for _ in range(2):
                with pytest.raises(type(refusal)):
                    outputs_of(func, make(), {})
            continue
        for _ in range(2):
            _same(outputs_of(func, make(), {}), theirs)
        compared += 1
    assert compared


def test_pytorch_is_asked_once_for_operands_of_one_kind() -> None:
    asked: list[Tensor] = []

    def doubled(tensor: Tensor, _: float = 0) -> Tensor:
        asked.append(tensor)
        return torch.empty(tensor.shape, device="meta")

    for operand in (_plain, _plain, _transposed, _transposed):
        assert outputs_of(doubled, (operand(),), {}).shape == (4, 6, 5)
    for number in (1, 1.0, True, 1):
        outputs_of(doubled, (_plain(), number), {})
    assert len(asked) == 2 + 3


def test_a_view_is_one_of_its_own_operand() -> None:
    for _ in range(2):
        base = _plain()
        view = outputs_of(aten.view.default, (base, [4, 30]), {})
        assert view.untyped_storage()._cdata == base.untyped_storage()._cdata


def test_an_operand_that_changes_its_shape_does_so_each_time() -> None:
    for _ in range(2):
        target = torch.empty(1, 3, device="meta")
        assert outputs_of(aten.squeeze_.default, (target,), {}) is target
        assert target.shape == (3,)


def test_an_operand_that_gets_other_memory_gets_it_each_time() -> None:
    for _ in range(2):
        own, other = (torch.empty(4, 4, device="meta") for _ in range(2))
        outputs_of(aten.set_.source_Tensor, (own, other), {})
        assert own.untyped_storage()._cdata == other.untyped_storage()._cdata


def test_an_in_place_operation_returns_its_target() -> None:
    target, other = _plain(), _plain()
    assert outputs_of(aten.add_.Tensor, (target, other), {}) is target
    assert outputs_of(aten.relu_.default, (target,), {}) is target


@pytest.mark.parametrize("mask", [[True] * 3, [False, True, True], [True, False, False]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("grad_name", ["plain", "half", "transposed", "slice"])
def test_normalization_gradients(mask: list[bool], dtype: torch.dtype, grad_name: str) -> None:
    data, grad = _plain(dtype), OPERANDS[grad_name]()
    if grad.dtype is not dtype:
        grad = grad.to(dtype)
    weight = torch.empty(5, dtype=dtype, device="meta")
    statistics = torch.empty(4, 6, 1, device="meta")
    layer = (grad, data, [5], statistics, statistics, weight, weight, mask)
    func = aten.native_layer_norm_backward.default
    _same(outputs_of(func, layer, {}), func(*layer))
    scale = torch.empty(6, dtype=dtype, device="meta")
    batch = (grad, data, scale, None, None, scale, scale, True, 1e-5, mask)
    func = aten.native_batch_norm_backward.default
    _same(outputs_of(func, batch, {}), func(*batch))


def _lists() -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    first, second, third = (
        [_plain(), torch.empty(7, device="meta"), torch.empty((), device="meta")] for _ in range(3)
    )
    return first, second, third


FOREACH: dict[Any, Callable[[], tuple[Any, ...]]] = {
    aten._foreach_add_.Scalar: lambda: (_lists()[0], 1.0),
    aten._foreach_add_.List: lambda: _lists()[:2],
    aten._foreach_mul_.Scalar: lambda: (_lists()[0], 1.0),
    aten._foreach_mul_.Tensor: lambda: (_lists()[0], torch.empty((), device="meta")),
    aten._foreach_lerp_.Scalar: lambda: (*_lists()[:2], 0.1),
    aten._foreach_addcmul_.Scalar: lambda: (*_lists(), 0.1),
    aten._foreach_addcdiv_.Scalar: lambda: (*_lists(), 0.1),
    aten._foreach_addcdiv_.ScalarList: lambda: (*_lists(), [0.1, 0.2, 0.3]),
    aten._foreach_div_.Scalar: lambda: (_lists()[0], 2.0),
    aten._foreach_div_.ScalarList: lambda: (_lists()[0], [2.0, 3.0, 4.0]),
    aten._foreach_sqrt.default: lambda: (_lists()[0],),
}


@pytest.mark.parametrize("func", FOREACH, ids=str)
def test_operations_on_lists(func: Any) -> None:
    ours = RULES[func](FOREACH[func](), {})
    theirs = func(*FOREACH[func]())
    if theirs is None:
        assert ours is None
    else:
        _same(list(ours), list(theirs))


def test_a_strided_list_is_left_to_pytorch() -> None:
    func = aten._foreach_sqrt.default
    _same(list(outputs_of(func, ([_slice()],), {})), list(func([_slice()])))


def test_no_list_operation_is_untested() -> None:
    assert set(FOREACH) == {func for func in RULES if "_foreach" in str(func)}


def test_real_tensors_are_left_to_pytorch() -> None:
    assert outputs_of(aten.add.Tensor, (torch.ones(3), torch.ones(3)), {}).tolist() == [2, 2, 2]
