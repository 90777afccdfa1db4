import copy
import math
import operator
import pickle
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bevdiag.trace.lazy_number import LazyNumber, lazy_math


class _Asked:
    """Makes one lazy number and notes what becomes of it."""

    def __init__(self, value: float | None) -> None:
        self.count = 0
        self.decided: list[bool | None] = []
        self.taken: list[float | None] = []
        self._value = value
        self.number = LazyNumber(self._answer, self._decide, self._take)

    def _answer(self) -> float | None:
        self.count += 1
        return self._value

    def _take(self, known: float | None) -> float:
        self.taken.append(known)
        return 7.0 if known is None else known

    def _decide(self, outcome: bool | None) -> bool:
        self.decided.append(outcome)
        return bool(outcome)


_ROUNDED: list[Callable[[Any], Any]] = [
    math.ceil,
    math.floor,
    math.trunc,
    round,
    int,
    float,
    lambda number: round(number, 1),
    lambda number: number.is_integer(),
    lambda number: divmod(number, 2)[0] == 1,
    lambda number: pickle.loads(pickle.dumps(number)),
    np.sqrt,
    lambda number: int(math.log2(number) * 10),
    lambda number: int(math.pow(2, number)),
    lambda number: bool(math.isclose(number, 3.75)),
    lambda number: float(math.fsum([number, number])),
    lambda number: float(math.prod((number, 2.0))),
    lambda number: statistics.mean([number, number]),
    lambda number: np.mean([number, number]),
]


@pytest.mark.parametrize("use", _ROUNDED)
def test_wherever_a_number_matters_it_is_the_computed_one(use: Callable[[Any], Any]) -> None:
    asked = _Asked(3.75)
    with lazy_math():
        assert use(asked.number) == use(3.75)
    assert asked.count


@pytest.mark.parametrize("use", [math.ceil, round, int, float, np.sqrt])
def test_where_nobody_knows_it_a_guess_is_taken(use: Callable[[Any], Any]) -> None:
    assert use(_Asked(None).number) == use(7.0)


@pytest.mark.parametrize(
    "use",
    [
        str,
        lambda number: number * 2 + 1,
        lambda number: math.sqrt(number),
        lambda number: math.isnan(number) or not math.isfinite(number) or np.isnan(number),
        copy.deepcopy,
    ],
)
def test_what_is_only_logged_is_not_asked_for(use: Callable[[Any], Any]) -> None:
    asked = _Asked(3.0)
    with lazy_math():
        use(asked.number)
    assert not asked.count


def test_comparisons_say_how_they_came_out() -> None:
    known, unknown = _Asked(3.0), _Asked(None)
    for compare in (operator.lt, operator.ge, operator.eq):
        compare(known.number, 3.5)
        compare(unknown.number, 3.5)
    assert known.decided == [True, False, False]
    assert unknown.decided == [None] * 3


def test_a_number_that_code_takes_is_noted() -> None:
    asked = _Asked(3.0)
    assert np.mean([asked.number, asked.number]) == 3.0
    assert asked.taken
    assert set(asked.taken) == {3.0}


def test_math_is_itself_again() -> None:
    before = dict(vars(math))
    with lazy_math():
        assert math.hypot(3, 4) == 5
    assert vars(math) == before


def test_what_a_tensor_is_made_of_is_asked_for_and_what_it_is_compared_with_is_not(
    recordings: Any,
) -> None:
    asked = _Asked(3.0)
    with recordings.recording():
        data = torch.empty(4, device="meta")
        _ = (data > asked.number) & (torch.full_like(data, asked.number) > 2)
        assert not asked.count
        assert torch.tensor([asked.number, 1.0]).tolist() == [3.0, 1.0]
        assert len(torch.arange(asked.number)) == 3
