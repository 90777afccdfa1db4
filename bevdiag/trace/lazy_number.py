"""A number read from features that is asked for once it matters.

Training code reads losses to log them. Only where such a number is compared, rounded or tested does
the step depend on it, and only there is its value asked for.
"""

import operator
from collections.abc import Callable
from typing import Any


class LazyNumber(float):
    """What `.item()` returns for a float that a trace does not have; as a float it is 1.0.

    Args:
        value: the number, None where nobody knows it.
        decide: one of both outcomes of a comparison that nobody knows.
        guess: a number for code that needs one, noted as a guess.
    """

    def __new__(
        cls,
        value: Callable[[], float | None],
        decide: Callable[[], bool],
        guess: Callable[[], float],
    ) -> "LazyNumber":
        """See the class."""
        made = super().__new__(cls, 1.0)
        made._value, made._decide, made._guess = value, decide, guess
        return made

    _value: Callable[[], float | None]
    _decide: Callable[[], bool]
    _guess: Callable[[], float]

    def _compared(self, compare: Callable[[Any, Any], Any], other: Any) -> bool:
        left, right = self._value(), _value_of(other)
        if left is None or right is None:
            return self._decide()
        return bool(compare(left, right))

    def _derived(self, compute: Callable[..., Any], *others: Any) -> "LazyNumber":
        def value() -> float | None:
            own, rest = self._value(), [_value_of(other) for other in others]
            return None if own is None or None in rest else float(compute(own, *rest))

        return LazyNumber(value, self._decide, self._guess)

    def _needed(self) -> float:
        known = self._value()
        return self._guess() if known is None else known

    def __lt__(self, other: Any) -> bool:
        return self._compared(operator.lt, other)

    def __le__(self, other: Any) -> bool:
        return self._compared(operator.le, other)

    def __gt__(self, other: Any) -> bool:
        return self._compared(operator.gt, other)

    def __ge__(self, other: Any) -> bool:
        return self._compared(operator.ge, other)

    def __eq__(self, other: object) -> bool:
        return self._compared(operator.eq, other)

    def __ne__(self, other: object) -> bool:
        return self._compared(operator.ne, other)

    __hash__ = float.__hash__

    def __bool__(self) -> bool:
        known = self._value()
        return self._decide() if known is None else bool(known)

    def __int__(self) -> int:
        return int(self._needed())

    __trunc__ = __int__

    def __floor__(self) -> int:
        return int(self._needed() // 1)

    def __ceil__(self) -> int:
        return -int(-self._needed() // 1)

    def __round__(self, digits: Any = None) -> Any:
        return round(self._needed(), digits)

    def __neg__(self) -> "LazyNumber":
        return self._derived(operator.neg)

    def __abs__(self) -> "LazyNumber":
        return self._derived(abs)


def _value_of(other: Any) -> Any:
    return other._value() if isinstance(other, LazyNumber) else other


def _arithmetic(compute: Callable[[Any, Any], Any], *, is_swapped: bool) -> Callable[..., Any]:
    def method(self: LazyNumber, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        if is_swapped:
            return self._derived(lambda own, left: compute(left, own), other)
        return self._derived(compute, other)

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _compute = getattr(operator, _name)
    setattr(LazyNumber, f"__{_name}__", _arithmetic(_compute, is_swapped=False))
    setattr(LazyNumber, f"__r{_name}__", _arithmetic(_compute, is_swapped=True))
