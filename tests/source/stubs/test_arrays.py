import numpy as np

from bevdiag.source.stubs.arrays import ranks, remembered


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
