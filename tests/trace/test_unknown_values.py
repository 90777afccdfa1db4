from typing import Any

import pytest
import torch
from torch import Tensor

from bevdiag.errors import ExitCode
from bevdiag.memory.events import Category
from bevdiag.trace.unknown_values import DataDependenceError, KnownValues, Question


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def test_a_mask_of_features_stops_the_trace_with_a_sentence(recordings: Any) -> None:
    features = _meta(20, 8)
    with (
        recordings.recording(),
        pytest.raises(
            DataDependenceError, match=r"depends on feature values.*needs a rule"
        ) as caught,
    ):
        features[features[:, 0] > 0]
    assert caught.value.exit_code is ExitCode.NO_VERDICT


@pytest.mark.parametrize("reads", [torch.nonzero, torch.unique])
def test_so_does_a_count_of_features(recordings: Any, reads: Any) -> None:
    features = _meta(20)
    with recordings.recording(), pytest.raises(DataDependenceError):
        reads(features)


def test_coordinates_under_an_index_of_features_stop_the_trace(recordings: Any) -> None:
    coords, scores = torch.arange(20), _meta(20)
    with recordings.recording() as recorder:
        recorder.adopt(coords, Category.INPUT, "", "batch")
        with pytest.raises(DataDependenceError):
            coords[scores.topk(5)[1]]


class _Known(KnownValues):
    """Supplies fixed values: every second element is true, orders run backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.negations = 0

    def mask(self, mask: Tensor, question: Question) -> Tensor:
        return (torch.arange(mask.numel()) % 2 == 0).view(mask.shape)

    def negated(self, mask: Tensor, result: Tensor) -> None:
        self.negations += 1

    def order(self, shape: tuple[int, ...], dim: int, length: int, question: Question) -> Tensor:
        kept = [*shape[:dim], length, *shape[dim + 1 :]]
        return (
            torch.arange(length).flip(0).expand(*kept) if dim == len(shape) - 1 else NotImplemented
        )

    def rows(self, index: Tensor, size: int, question: Question) -> Tensor:
        return torch.zeros(index.shape, dtype=torch.int64)

    def distinct(self, count: int, question: Question, source: Tensor | None = None) -> int:
        return count // 2


def test_supplied_values_let_a_mask_of_features_go_on(recordings: Any) -> None:
    features = _meta(20, 8)
    with recordings.recording() as recorder:
        recorder.values = _Known()
        assert features[features[:, 0] > 0].shape == (10, 8)
        assert torch.nonzero(features[:, 0] > 0).shape == (10, 1)
        assert torch.unique(features[:, 0]).shape == (10,)


def test_supplied_orders_are_values_that_coordinates_can_be_picked_by(recordings: Any) -> None:
    coords, scores = torch.arange(20), _meta(20)
    with recordings.recording() as recorder:
        recorder.values = _Known()
        recorder.adopt(coords, Category.INPUT, "", "batch")
        values, order = scores.topk(3)
        picked = coords[order]
        assert coords[torch.empty(4, dtype=torch.int64, device="meta")].tolist() == [0] * 4
    assert values.is_meta
    assert picked.tolist() == [2, 1, 0]


def test_a_negated_mask_is_reported_to_who_supplies_the_values(recordings: Any) -> None:
    features = _meta(20)
    with recordings.recording() as recorder:
        recorder.values = known = _Known()
        _ = ~(features > 0)
        _ = torch.logical_not(features > 0)
    assert known.negations == 2
