"""A number read from features that is asked for once it matters.

Training code reads losses to log them. Only where such a number is compared, rounded or tested does
the step depend on it, and only there is its value asked for. What is computed from one, by Python,
`math` or NumPy, is another.
"""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any
from unittest import mock

_OF_FINITE = {"isnan": False, "isinf": False, "isfinite": True}
"""The answers for every number, as features are taken to be finite."""


class LazyNumber(float):
    """What `.item()` returns for a float that a trace does not have; as a float it is 1.0.

    Args:
        value: the number, None where nobody knows it.
        decide: says which way a comparison goes, given its outcome or None where nobody knows that.
        take: gives the number, None where nobody knows it, to code that needs one, and notes it.
    """

    def __new__(
        cls,
        value: Callable[[], float | None],
        decide: Callable[[bool | None], bool] | None = None,
        take: Callable[[float | None], float] | None = None,
    ) -> "LazyNumber":
        """See the class; code that asks a number for its type makes plain ones with that."""
        if decide is None or take is None:
            return float(value)  # type: ignore[arg-type, return-value]
        made = super().__new__(cls, 1.0)
        made._value, made._decide, made._take = value, decide, take
        return made

    _value: Callable[[], float | None]
    _decide: Callable[[bool | None], bool]
    _take: Callable[[float | None], float]

    def needed(self) -> float:
        """Return the number, or a guess."""
        return self._take(self._value())

    def derived(self, compute: Callable[..., Any], *arguments: Any) -> "LazyNumber":
        """Return what `compute` makes of arguments, this number among them, once it matters."""

        def value() -> float | None:
            known = [_value_of(argument) for argument in arguments]
            return None if None in known else float(compute(*known))

        return LazyNumber(value, self._decide, self._take)

    def _compared(self, compare: Callable[[Any, Any], Any], other: Any) -> bool:
        left, right = self._value(), _value_of(other)
        unknown = left is None or right is None
        return self._decide(None if unknown else bool(compare(left, right)))

    def __bool__(self) -> bool:
        known = self._value()
        return self._decide(None if known is None else bool(known))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (self.needed(),)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc.__name__ in _OF_FINITE and method == "__call__":
            return _OF_FINITE[ufunc.__name__]
        known = [i.needed() if isinstance(i, LazyNumber) else i for i in inputs]
        return getattr(ufunc, method)(*known, **kwargs)


def _value_of(other: Any) -> Any:
    if isinstance(other, (list, tuple)):
        values = [_value_of(item) for item in other]
        return None if None in values else values
    return other._value() if isinstance(other, LazyNumber) else other


def _arithmetic(compute: Callable[[Any, Any], Any], *, is_swapped: bool) -> Callable[..., Any]:
    def method(self: LazyNumber, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        return self.derived(compute, *((other, self) if is_swapped else (self, other)))

    return method


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[..., bool]:
    return lambda self, other: self._compared(compare, other)


def _derivation(compute: Callable[[Any], Any]) -> Callable[..., LazyNumber]:
    return lambda self: self.derived(compute, self)


def _conversion(convert: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method for which the number itself is needed."""
    return lambda self, *digits: convert(self.needed(), *digits)


_CONVERSIONS: dict[str, Callable[..., Any]] = {
    **{"__float__": float, "__int__": int, "__trunc__": int, "__round__": round},
    **{"__floor__": math.floor, "__ceil__": math.ceil, "is_integer": float.is_integer},
    "as_integer_ratio": float.as_integer_ratio,
}
for _name, _convert in _CONVERSIONS.items():
    setattr(LazyNumber, _name, _conversion(_convert))
for _name in ("__pos__", "__copy__", "__deepcopy__"):
    setattr(LazyNumber, _name, lambda self, *_: self)
for _name in ("neg", "abs"):
    setattr(LazyNumber, f"__{_name}__", _derivation(getattr(operator, _name)))

for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _compute = getattr(operator, _name)
    setattr(LazyNumber, f"__{_name}__", _arithmetic(_compute, is_swapped=False))
    setattr(LazyNumber, f"__r{_name}__", _arithmetic(_compute, is_swapped=True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(LazyNumber, f"__{_name}__", _comparison(getattr(operator, _name)))


@contextmanager
def lazy_math() -> Iterator[None]:
    """Inside, the functions of `math` compute with lazy numbers; by itself C code reads 1.0."""
    plain = {
        name: function
        for name, function in vars(math).items()
        if callable(function) and not name.startswith("_") and name not in _THEMSELVES
    }
    lazy: dict[str, Any] = {
        name: wraps(plain[name])(partial(_mathematical, name, plain[name])) for name in plain
    }
    with mock.patch.multiple(math, **lazy):
        yield


_THEMSELVES = ("floor", "ceil", "trunc")
"""Functions that ask a number to compute the result itself."""


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _mathematical(name: str, plain: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    items = (item for value in arguments for item in _items(value))
    lazy = next((item for item in items if isinstance(item, LazyNumber)), None)
    if lazy is None:
        return plain(*arguments, **options)
    if name in _OF_FINITE:
        return _OF_FINITE[name]
    return lazy.derived(partial(plain, **options), *arguments)
