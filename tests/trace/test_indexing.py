from typing import Any

import pytest
import torch

from bevdiag.memory.events import Category


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
