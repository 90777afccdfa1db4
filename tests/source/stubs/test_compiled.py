import numpy as np
import pytest
import torch

from bevdiag.errors import NoVerdictError
from bevdiag.source import state
from bevdiag.source.stubs.compiled import Array, Filled, Op, compiled, ranks, remembered


@pytest.fixture
def add() -> Op:
    def add(a: Array, b: Array, out: Filled, factor: float = 1.0) -> None:
        out[...] = factor * (a + b)

    return compiled(add, "n a b out", "n factor a b out")


def test_a_function_is_read_in_the_form_that_it_is_called_in(add: Op) -> None:
    a, out = torch.ones(2), torch.zeros(2)
    assert add(2, a, a, out) == 1
    assert out.tolist() == [2, 2]
    add(2, 3.0, a, a, out)
    assert out.tolist() == [6, 6]


def test_sizes_by_name_are_left_to_who_wants_them(add: Op) -> None:
    a, out = torch.ones(2), torch.zeros(2)
    add(2, a, a, out, factor=2.0, stride=7)
    assert out.tolist() == [4, 4]


def test_a_form_that_nobody_knows_is_said(add: Op) -> None:
    with pytest.raises(NoVerdictError, match="called with 2 arguments; bevdiag knows it with 4 or"):
        add(torch.ones(2), torch.ones(2))


def test_without_values_nothing_is_computed(add: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_running", [])
    out = torch.zeros(2)
    add(2, torch.ones(2), torch.ones(2), out)
    assert add(2, torch.empty(2, device="meta"), torch.ones(2), out) == 1
    assert out.tolist() == [2, 2]


def test_ranks_count_within_runs() -> None:
    assert ranks(np.array([2, 2, 5, 7, 7, 7])).tolist() == [0, 1, 0, 0, 1, 2]


def test_the_same_question_is_answered_once() -> None:
    asked = []

    def double(values: np.ndarray, factor: int) -> np.ndarray:
        asked.append(factor)
        return values * factor

    one, two = np.arange(3), np.arange(3)
    assert remembered(double, (one,), 2) is remembered(double, (two,), 2)
    assert remembered(double, (one,), 3).tolist() == [0, 3, 6]
    assert remembered(double, (one + 1,), 2).tolist() == [2, 4, 6]
    assert asked == [2, 3, 2]
