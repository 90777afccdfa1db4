from typing import Any

import pytest
import torch

from bevdiag.errors import ExitCode
from bevdiag.memory.events import Category
from bevdiag.trace.unknown_values import DataDependenceError


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
