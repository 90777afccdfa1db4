import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bevdiag.trace import places
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.rehearsal import Prompter, Rehearsal, can_rehearse
from bevdiag.trace.unknown_values import Question


def _mask(values: AssumedValues, mask: torch.Tensor) -> torch.Tensor:
    return values.mask(mask, values.question("mask"))


def _distinct(values: AssumedValues, count: int) -> int:
    return values.distinct(count, values.question("distinct"))


@pytest.fixture
def values() -> AssumedValues:
    return AssumedValues(Scenario.EXPECTED, {})


@pytest.mark.parametrize(
    ("scenario", "used"), [(Scenario.LOW, 1), (Scenario.EXPECTED, 50), (Scenario.HIGH, 100)]
)
def test_a_mask_has_the_scenario_s_share_of_ones(scenario: Scenario, used: int) -> None:
    values = AssumedValues(scenario, {})
    assert int(_mask(values, torch.empty(100, device="meta") > 0).sum()) == used
    (assumption,) = values.assumptions.values()
    assert (assumption.low, assumption.expected, assumption.high) == (1, 50, 100)
    assert assumption.used == used


def test_the_same_mask_has_the_same_values(values: AssumedValues) -> None:
    mask = torch.empty(40, device="meta") > 0
    assert torch.equal(_mask(values, mask), _mask(values, mask))
    assert torch.equal(_mask(values, mask.view(4, 10)), _mask(values, mask).view(4, 10))


@pytest.mark.parametrize(
    ("scenario", "used"), [(Scenario.LOW, 1), (Scenario.EXPECTED, 16), (Scenario.HIGH, 160)]
)
def test_what_is_known_of_a_mask_s_cells_is_expected(scenario: Scenario, used: int) -> None:
    values = AssumedValues(scenario, {})
    values.expect_share((4, 4, 2), 0.1, "one cell of ten is taken to")
    assert int(_mask(values, torch.empty(5, 4, 4, 2, device="meta") > 0).sum()) == used
    (assumption,) = values.assumptions.values()
    assert (assumption.low, assumption.expected, assumption.high) == (1, 16, 160)
    assert assumption.why == "one cell of ten is taken to pass"


def test_a_negated_mask_is_the_rest(values: AssumedValues) -> None:
    mask = torch.empty(41, device="meta") > 0
    rest = ~mask
    values.negated(mask, rest)
    assert torch.equal(_mask(values, rest), ~_mask(values, mask))


def test_a_negated_mask_keeps_no_memory_of_what_it_was_made_of(values: AssumedValues) -> None:
    mask = torch.empty(41, device="meta") > 0
    rest = ~mask
    values.negated(mask, rest)
    storage = weakref.ref(mask.untyped_storage())
    del mask
    gc.collect()
    assert storage() is None
    again = torch.empty(41, dtype=torch.bool, device="meta")
    values.negated(rest, again)
    assert torch.equal(_mask(values, again), ~_mask(values, rest))


@pytest.mark.parametrize(
    ("scenario", "used"), [(Scenario.LOW, 1), (Scenario.EXPECTED, 50), (Scenario.HIGH, 100)]
)
def test_a_negated_mask_that_is_asked_for_first_has_the_scenario_s_share(
    scenario: Scenario, used: int
) -> None:
    values = AssumedValues(scenario, {})
    mask = torch.empty(100, device="meta") > 0
    rest = ~mask
    values.negated(mask, rest)
    assert int(_mask(values, rest).sum()) == used
    assert int(_mask(values, mask).sum()) == 100 - used


def test_a_part_of_a_mask_is_asked_for_by_itself(values: AssumedValues) -> None:
    mask = torch.empty(4, 10, device="meta") > 0
    rest = ~mask
    values.negated(mask, rest)
    whole = _mask(values, mask)
    assert _mask(values, rest[0]).shape == (10,)
    assert torch.equal(_mask(values, mask), whole)


def test_a_mask_that_is_written_to_has_other_values(values: AssumedValues) -> None:
    mask = torch.empty(100, device="meta") > 0
    before = _mask(values, mask)
    values.note(torch.ops.aten.bitwise_and_.Tensor, (mask, mask), mask)
    assert not torch.equal(_mask(values, mask), before)
    before = _mask(values, mask)
    values.overwritten([mask])
    assert not torch.equal(_mask(values, mask), before)


def test_a_dead_mask_s_values_are_forgotten(values: AssumedValues) -> None:
    mask = torch.empty(8, device="meta") > 0
    _mask(values, mask)
    del mask
    gc.collect()
    assert not values._masks


def test_an_order_is_a_permutation_along_its_axis(values: AssumedValues) -> None:
    order = values.order((2, 5, 3), 1, 5, values.question("order"))
    assert order.shape == (2, 5, 3)
    assert torch.equal(order.sort(dim=1).values, torch.arange(5).view(1, 5, 1).expand(2, 5, 3))


def test_rows_repeat_only_when_they_must(values: AssumedValues) -> None:
    index = torch.empty(4, dtype=torch.int64, device="meta")
    assert len(set(values.rows(index, 6, values.question("rows")).tolist())) == 4
    more = torch.empty(3, 4, dtype=torch.int64, device="meta")
    found = values.rows(more, 5, values.question("rows"))
    assert found.shape == (3, 4)
    assert set(found.flatten().tolist()) == set(range(5))


def test_a_pin_is_cut_to_what_there_is() -> None:
    free = AssumedValues(Scenario.HIGH, {})
    _distinct(free, 10)
    (site,) = free.assumptions
    pinned = AssumedValues(Scenario.HIGH, {site: 3})
    assert _distinct(pinned, 10) == 3
    assert _distinct(AssumedValues(Scenario.HIGH, {site: 30}), 10) == 10


def test_a_site_keeps_its_largest_count(values: AssumedValues) -> None:
    for total in (4, 10, 6):
        _distinct(values, total)
    (assumption,) = values.assumptions.values()
    assert assumption.high == 10


def test_a_computed_count_is_cut_to_what_there_is(
    values: AssumedValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "_rehearsed_number", lambda question: 7)
    assert [_distinct(values, total) for total in (10, 4)] == [7, 4]


def test_a_computed_number_within_bounds_is_that_number(
    values: AssumedValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "_rehearsed_number", lambda question: 4)
    largest, question = torch.empty((), dtype=torch.int64, device="meta"), values.question("number")
    values.note(torch.ops.aten.amax.default, (torch.tensor([3, 5]),), largest)
    assert values.size(largest, question) == 4
    (assumption,) = values.assumptions.values()
    assert (assumption.low, assumption.expected, assumption.high) == (3, 4, 5)


def test_outside_of_the_repository_a_site_is_a_module(
    values: AssumedValues, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(places, "_roots", [tmp_path])
    values.module = lambda: "roi_head.conv"
    _distinct(values, 4)
    assert list(values.assumptions) == ["roi_head.conv"]


@pytest.mark.skipif(not can_rehearse(), reason="needs fork")
@pytest.mark.parametrize(
    ("scenario", "later"), [(Scenario.LOW, 6), (Scenario.EXPECTED, 7), (Scenario.HIGH, 9)]
)
def test_a_size_without_a_bound_spreads_as_other_weights_spread(
    scenario: Scenario, later: int
) -> None:
    question = Question("number", "a.py:1", "", 0)

    def answering(value: int) -> Callable[[Prompter], None]:
        return lambda prompter: prompter.seen(question, torch.tensor(value))

    rehearsal = Rehearsal(answering(7), [answering(9), answering(6)])
    try:
        values = AssumedValues(scenario, {}, rehearsal)
        unknown = torch.empty((), dtype=torch.int64, device="meta")
        values.step = lambda: 1
        assert values.size(unknown, question) == 7
        values.step = lambda: 2
        assert values.size(unknown, question) == later
        (assumption,) = values.assumptions.values()
        assert (assumption.low, assumption.expected, assumption.high) == (6, 7, 9)
        assert "other seeds give 9, 6" in assumption.why
    finally:
        rehearsal.close()
