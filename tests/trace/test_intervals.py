from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.intervals import Intervals
from bevdiag.trace.recorder import Recorder


class Watched(AssumedValues):
    """Lets a test look at what is known of a tensor."""

    @property
    def intervals(self) -> Intervals:
        return self._intervals


@pytest.fixture(params=[Scenario.HIGH])
def values(request: pytest.FixtureRequest) -> Iterator[Watched]:
    recorder = Recorder(Attribution(nn.Module()))
    made = Watched(request.param, {})
    recorder.unknown = made
    with recorder:
        yield made


def _table() -> torch.Tensor:
    return torch.tensor([[10.0, -5.0, 1.0], [20.0, 5.0, 3.0]])


def _some_rows(count: int = 6) -> torch.Tensor:
    return _table()[torch.empty(count, dtype=torch.int64, device="meta")]


def _unknown(count: int) -> torch.Tensor:
    return torch.empty(count, device="meta") > 0


def test_rows_of_a_table_lie_between_each_column_s_ends(values: Watched) -> None:
    rows = _some_rows()
    assert rows.is_meta
    assert values.intervals.of(rows[:, 0]) == (10, 20)
    assert values.intervals.of(rows[:, -1].long()) == (1, 3)
    assert values.intervals.of(rows[:, 1:]) == (-5, 20)


def test_a_row_that_is_written_over_may_be_anything(values: Watched) -> None:
    rows = _some_rows()
    rows.mul_(torch.empty(6, 3, device="meta"))
    low, high = values.intervals.of(rows[:, 0])
    assert (low, high) == (-float("inf"), float("inf"))


@pytest.mark.parametrize(
    ("write", "interval"),
    [
        (lambda x: x.masked_fill_(_unknown(6), -1), (-1, 0)),
        (lambda x: x.__setitem__(_unknown(6), _some_rows()[:, 2].long()), (0, 3)),
        (lambda x: x.copy_(_some_rows()[:, 2]), (1, 3)),
        (lambda x: x[:2].copy_(_some_rows(2)[:, 2]), (0, 3)),
    ],
)
def test_what_is_written_joins_what_was_there(write: Any, interval: Any, values: Watched) -> None:
    labels = torch.zeros(6, dtype=torch.int64, device="meta")
    write(labels)
    assert values.intervals.of(labels) == interval
    assert values.intervals.of(torch.cat((labels, labels - 1))) == (-float("inf"), float("inf"))
    assert values.intervals.of(torch.cat((labels, labels))) == interval


def test_labels_of_a_few_classes_have_no_more_distinct_values(values: Watched) -> None:
    labels = torch.zeros(6, dtype=torch.int64, device="meta")
    labels[_unknown(6)] = _some_rows()[:, 2].long()
    found = labels.unique()
    # With the high count every one of them occurs, and a loop over them is one over numbers.
    assert found.tolist() == [0, 1, 2, 3]
    assert [int(label) for label in found if label > 0] == [1, 2, 3]


def test_a_run_of_labels_may_come_again(values: Watched) -> None:
    labels = _some_rows()[:, 2].long()
    assert len(labels.unique()) == 3
    assert len(labels.unique_consecutive()) == 6


def test_conversions_cut_and_sums_have_other_ends(values: Watched) -> None:
    halves = torch.full((4,), -1.5, device="meta")
    assert values.intervals.of(halves.long()) == (-1, -1)
    assert values.intervals.of(halves.to(torch.uint8)) == (-float("inf"), float("inf"))
    ones = torch.ones(4, device="meta")
    ones.index_put_((torch.zeros(9, dtype=torch.int64),), torch.ones(9, device="meta"), True)
    assert values.intervals.of(ones) == (-float("inf"), float("inf"))


@pytest.mark.parametrize("values", [Scenario.LOW], indirect=True)
def test_one_of_several_labels_stays_unknown(values: Watched) -> None:
    labels = torch.zeros(6, dtype=torch.int64, device="meta")
    labels[_unknown(6)] = _some_rows()[:, 2].long()
    found = labels.unique()
    assert found.is_meta
    assert len(found) == 1
