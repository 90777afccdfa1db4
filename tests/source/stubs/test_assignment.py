from itertools import permutations

import numpy as np
import pytest

from bevdiag.source.stubs.assignment import linear_sum_assignment
from bevdiag.source.stubs.packages import PACKAGES


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5), (1, 3), (0, 3)])
@pytest.mark.parametrize("maximize", [False, True])
def test_no_other_assignment_is_better(shape: tuple[int, int], maximize: bool) -> None:
    for seed in range(5):
        cost = np.random.default_rng(seed).normal(size=shape).round(1)
        rows, columns = linear_sum_assignment(cost, maximize)
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert len(set(columns.tolist())) == len(rows) == min(shape)
        wide = cost if shape[0] <= shape[1] else cost.T
        sums = [
            wide[range(len(wide)), list(chosen)].sum()
            for chosen in permutations(range(wide.shape[1]), len(wide))
        ]
        assert cost[rows, columns].sum() == pytest.approx(max(sums) if maximize else min(sums))


def test_a_pair_that_is_ruled_out_is_not_chosen() -> None:
    cost = np.array([[np.inf, 1.0], [0.0, 9.0]])
    assert linear_sum_assignment(cost)[1].tolist() == [1, 0]
    with pytest.raises(ValueError, match="infeasible"):
        linear_sum_assignment(np.full((2, 2), np.inf))


def test_what_is_no_number_is_refused_as_scipy_does() -> None:
    with pytest.raises(ValueError, match="invalid numeric"):
        linear_sum_assignment([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="matrix"):
        linear_sum_assignment([1.0])


def test_it_stands_in_for_scipy_s() -> None:
    made = PACKAGES["scipy"]()["scipy.optimize"]
    assert made.linear_sum_assignment is linear_sum_assignment
