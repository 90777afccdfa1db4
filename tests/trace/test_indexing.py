from typing import Any

import pytest
import torch

from bevdiag.memory.events import Category
from bevdiag.scenes.scenario import Scenario
from bevdiag.trace.assumed_values import AssumedValues


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def test_a_boolean_mask_is_turned_into_indices_first(recordings: Any) -> None:
    coords = torch.arange(20)
    features = _meta(20, 8)
    with recordings.recording() as recorder:
        recorder.adopt(coords, Category.INPUT, "", "batch")
        kept = features[coords % 4 == 0]
    assert kept.shape == (5, 8)
    nonzero, result = recordings.allocs(recorder.stream(1))[-2:]
    assert (result.op, result.nbytes) == ("aten.index.Tensor", 5 * 8 * 4)
    assert (nonzero.op, nonzero.nbytes) == ("aten.nonzero", 5 * 8)
    assert nonzero.category is Category.TEMPORARY
    assert nonzero.block not in recordings.alive_after(recorder.stream(1))


def test_a_host_mask_makes_no_indices_on_the_device(recordings: Any) -> None:
    features = _meta(20, 8)
    with recordings.recording() as recorder:
        kept = features[torch.arange(20) < 3]
    assert kept.shape == (3, 8)
    assert [a.nbytes for a in recordings.allocs(recorder.stream(1))] == [96]


def test_a_mask_over_two_axes_needs_an_index_for_each(recordings: Any) -> None:
    mask = torch.eye(4, dtype=torch.bool)
    features = _meta(4, 4, 8)
    with recordings.recording() as recorder:
        recorder.adopt(mask, Category.INPUT, "", "batch")
        kept = features[mask.clone()]
    assert kept.shape == (4, 8)
    sizes = [a.nbytes for a in recordings.allocs(recorder.stream(1)) if a.op == "aten.nonzero"]
    assert sizes == [4 * 2 * 8]


def test_writing_through_a_mask_allocates_its_indices_only(recordings: Any) -> None:
    mask = torch.tensor([True, False, True])
    with recordings.recording() as recorder:
        recorder.adopt(mask, Category.INPUT, "", "batch")
        features, values = _meta(3, 8), _meta(2, 8)
        features[mask] = values
    assert [(a.op, a.nbytes) for a in recordings.allocs(recorder.stream(1))][3:] == [
        ("aten.nonzero", 16)
    ]


def test_a_number_written_through_a_mask_needs_neither_index_nor_count(recordings: Any) -> None:
    with recordings.recording() as recorder:
        features = _meta(3, 8)
        features[features > 0] = 0.5
        features[:, 0] = 1.0
    ops = [a.op for a in recordings.allocs(recorder.stream(1))]
    assert ops == ["aten.empty.memory_format", "aten.gt.Scalar"]


def test_a_number_that_was_computed_does(recordings: Any) -> None:
    features, mask = _meta(3, 8), torch.tensor([True, False, True])
    with recordings.recording() as recorder:
        recorder.adopt(mask, Category.INPUT, "", "batch")
        features[mask] = features.sum()
    assert "aten.nonzero" in [a.op for a in recordings.allocs(recorder.stream(1))]


def test_masked_select_is_indexing_by_the_broadcast_mask(recordings: Any) -> None:
    values = torch.arange(12).view(3, 4)
    with recordings.recording() as recorder:
        recorder.adopt(values, Category.INPUT, "", "batch")
        picked = values.masked_select(values[:, :1] > 3)
    assert picked.tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    assert recordings.allocs(recorder.stream(1))[-1].nbytes == 64


def test_accumulating_index_put_sorts_its_indices(recordings: Any) -> None:
    rows = torch.arange(50)
    with recordings.recording() as recorder:
        recorder.adopt(rows, Category.INPUT, "", "batch")
        _meta(50, 8).index_put_((rows,), _meta(50, 8), accumulate=True)
    held = [a.nbytes for a in recordings.allocs(recorder.stream(1), op="aten.index_put_")]
    assert held == [400, 400, 400, 400, 800]


def test_plain_index_put_does_not(recordings: Any) -> None:
    rows = torch.arange(50)
    with recordings.recording() as recorder:
        recorder.adopt(rows, Category.INPUT, "", "batch")
        _meta(50, 8).index_put_((rows,), _meta(50, 8))
    assert recordings.allocs(recorder.stream(1), op="aten.index_put_") == []


def test_a_fill_under_a_mask_keeps_the_strides_of_a_gradient(recordings: Any) -> None:
    mask = _meta(20) > 0
    number = torch.tensor(0.0)
    with recordings.recording() as recorder:
        recorder.hide(number)
        filled = torch.ops.aten.index_put.default(_meta(8, 20).t(), [mask], number)
    assert filled.stride() == (1, 20)
    (result,) = recordings.allocs(recorder.stream(1))[-1:]
    assert (result.op, result.nbytes) == ("aten.index_put.default", 20 * 8 * 4)


@pytest.mark.parametrize("in_place", [True, False])
def test_accumulating_index_put_wants_its_values_dense(recordings: Any, in_place: bool) -> None:
    rows = torch.arange(50)
    with recordings.recording() as recorder:
        recorder.adopt(rows, Category.INPUT, "", "batch")
        target, values = _meta(50, 8), _meta(8, 50).t()
        put = target.index_put_ if in_place else target.index_put
        put((rows,), values, accumulate=True)
    copies = [a.nbytes for a in recordings.allocs(recorder.stream(1), op="aten.contiguous")]
    assert copies == [50 * 8 * 4]


def test_repeats_with_values_are_summed_and_make_an_index(recordings: Any) -> None:
    counts = torch.tensor([2, 0, 3])
    with recordings.recording() as recorder:
        recorder.adopt(counts, Category.INPUT, "", "batch")
        repeated = _meta(3, 8).repeat_interleave(counts, dim=0)
    assert repeated.shape == (5, 8)
    ends, index, result = recordings.allocs(recorder.stream(1))[-3:]
    assert [made.nbytes for made in (ends, index, result)] == [3 * 8, 5 * 8, 5 * 8 * 4]
    assert ends.op == "aten.cumsum.default"
    assert ends.block not in recordings.alive_after(recorder.stream(1))


@pytest.mark.parametrize(
    ("scenario", "rows"), [(Scenario.LOW, 1), (Scenario.EXPECTED, 20), (Scenario.HIGH, 40)]
)
def test_a_mask_repeats_no_more_rows_than_it_has_elements(
    recordings: Any, scenario: Scenario, rows: int
) -> None:
    values = AssumedValues(scenario, {})
    with recordings.recording() as recorder:
        recorder.values = values
        places = _meta(10, 4)
        repeated = places[:, 0].repeat_interleave((places < 0).sum(-1), dim=0)
        places[places < 0] = repeated
    assert repeated.shape == (rows,)
    assert values.open == []
    repeats, written = values.assumptions.values()
    assert (repeats.low, repeats.expected, repeats.high) == (1, 20, 40)
    assert (written.low, written.expected, written.high) == (1, 20, 40)


def test_repeats_that_nothing_bounds_leave_the_step_open(recordings: Any) -> None:
    values = AssumedValues(Scenario.HIGH, {})
    with recordings.recording() as recorder:
        recorder.values = values
        _meta(10, 4).repeat_interleave(_meta(10).long(), dim=0)
    assert len(values.open) == 1


def test_the_length_of_repeats_may_be_given(recordings: Any) -> None:
    values = AssumedValues(Scenario.HIGH, {})
    with recordings.recording() as recorder:
        recorder.values = values
        repeated = _meta(10, 4).repeat_interleave(_meta(10).long(), dim=0, output_size=7)
    assert (repeated.shape, values.open, values.assumptions) == ((7, 4), [], {})
