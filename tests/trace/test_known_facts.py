from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.known_facts import GivenInputs, Intervals
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder


class Watched(AssumedValues):
    """Lets a test look at what is known of a tensor."""

    @property
    def intervals(self) -> Intervals:
        return self._intervals


@pytest.fixture(params=[Scenario.HIGH])
def values(request: pytest.FixtureRequest) -> Iterator[Watched]:
    recorder = new_recorder(Attribution(nn.Module()))
    made = Watched(request.param, {})
    recorder.values = made
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


def test_what_is_written_is_the_tensor_that_is_given_for_the_result(values: Watched) -> None:
    source, target = torch.empty(6, device="meta"), torch.ones(6, device="meta")
    torch.sigmoid(source, out=target)
    assert values.intervals.of(target) == (0, 1)
    assert values.intervals.of(source) == (-float("inf"), float("inf"))
    torch.neg(source, out=target)
    assert values.intervals.of(target) == (-float("inf"), float("inf"))


def test_lists_that_are_written_over_may_hold_anything(values: Watched) -> None:
    ones = [torch.ones(6, device="meta") for _ in range(2)]
    torch._foreach_mul_(ones, 3.0)
    assert [values.intervals.of(one) for one in ones] == [(-float("inf"), float("inf"))] * 2


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


SAMPLES = [0, 0, 0, 1, 1]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = new_recorder(Attribution(nn.Module()))
    made.values = AssumedValues(Scenario.HIGH, {})
    with made:
        yield made


def _joined(recorder: Recorder, *, needs_gradient: bool = False) -> torch.Tensor:
    with recorder.for_device():
        sample = torch.tensor(SAMPLES).float()
    features = torch.empty(5, 3, device="meta", requires_grad=needs_gradient)
    return torch.cat((sample[:, None], features), dim=-1)


def test_a_sample_s_rows_are_counted_beside_features(recorder: Recorder) -> None:
    rows = _joined(recorder)
    assert [len(rows[rows[:, 0] == sample]) for sample in (0, 1)] == [3, 2]
    assert rows[:, 0].is_contiguous() is False
    assert rows[1:, 0].tolist() == SAMPLES[1:]
    assert rows[:, :1].tolist() == [[sample] for sample in SAMPLES]


def test_views_and_detached_tensors_know_their_columns_too(recorder: Recorder) -> None:
    with recorder.for_device():
        sample = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    rows = torch.cat((sample[..., None], torch.empty(2, 2, 3, device="meta")), dim=-1)
    assert rows.view(-1, 4).detach()[:, 0].tolist() == [0, 0, 1, 1]
    assert rows[1, :, 0].tolist() == [1, 1]


def test_an_empty_part_adds_no_column(recorder: Recorder) -> None:
    with recorder.for_device():
        sample = torch.tensor(SAMPLES).float()[:, None]
    joined = torch.cat((sample, torch.empty(5, 3, device="meta"), sample[:, 1:]), dim=-1)
    assert joined[:, 0].tolist() == SAMPLES
    assert joined[:, -1].is_meta


def test_features_stay_without_values(recorder: Recorder) -> None:
    rows = _joined(recorder)
    assert rows[:, 1].is_meta
    assert rows[:, :2].is_meta
    assert rows[0].is_meta


def test_what_is_written_over_is_known_no_longer(recorder: Recorder) -> None:
    rows = _joined(recorder)
    rows.mul_(torch.empty(5, 4, device="meta"))
    assert rows[:, 0].is_meta


def test_a_column_that_passes_a_gradient_stays_a_part_of_its_tensor(recorder: Recorder) -> None:
    rows = _joined(recorder, needs_gradient=True)
    assert rows[:, 0].is_meta
    assert rows.detach()[:, 0].tolist() == SAMPLES


def test_a_picked_column_is_no_memory_of_its_own_and_keeps_its_tensor(recorder: Recorder) -> None:
    rows = _joined(recorder)
    block = recorder.block_of(rows)
    before = recorder.position
    column = rows[:, 0]
    del rows
    assert recorder.position == before
    assert recorder.block_of(column) == block
    del column
    stream = recorder.stream(1)
    assert before <= stream.freed[block] < len(stream.events)
    assert not (stream.made >= before).any()


class _Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, given: GivenInputs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given = given

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        self._given.note(func, args, outputs)
        return outputs


@pytest.fixture
def given() -> Iterator[GivenInputs]:
    followed = GivenInputs()
    with _Noting(followed):
        yield followed


def _meta() -> torch.Tensor:
    return torch.empty(4, 3, device="meta")


def test_what_is_made_of_inputs_alone_is_given(given: GivenInputs) -> None:
    data, feature = _meta(), _meta()
    given.add(data)
    assert given.holds(data[:, 0] > 0)
    assert given.holds(torch.cat([data, torch.zeros_like(data)]).sum())
    assert given.holds(torch.ones(2))
    assert not given.holds(data + feature)
    assert not given.holds(feature.relu())


def test_what_is_drawn_or_filled_out_of_sight_is_not(given: GivenInputs) -> None:
    data = _meta()
    given.add(data)
    assert not given.holds(torch.rand_like(data))
    assert not given.holds(torch.bernoulli(data))
    assert not given.holds(torch.empty_like(data))


def test_what_a_feature_is_written_into_is_given_no_more(given: GivenInputs) -> None:
    data, feature = _meta(), _meta()
    given.add(data)
    copied = data.clone()
    first = copied[:1]
    copied[1:].add_(feature[1:])
    assert not given.holds(copied)
    assert not given.holds(first)
    assert given.holds(data)


def test_what_an_unseen_operator_wrote_of_features_is_not_given(given: GivenInputs) -> None:
    data, feature = _meta(), _meta()
    given.add(data)
    rows = torch.zeros_like(data)
    given.overwritten((data, rows))
    assert given.holds(rows)
    given.overwritten((data, feature, rows))
    assert not given.holds(rows)
