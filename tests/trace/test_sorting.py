from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.memory.events import Phase
from bevdiag.memory.requests import StridedReduction
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.unknown_values import DataDependenceError, KnownValues


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = new_recorder(Attribution(nn.Module()))
    made.values = AssumedValues(Scenario.EXPECTED, {})
    with made:
        yield made


@pytest.mark.parametrize(
    ("asked", "shapes"),
    [
        (lambda x: torch.unique(x, dim=0, return_inverse=True), [(4, 3), (8,)]),
        (lambda x: torch.unique(x, dim=-1, return_counts=True), [(8, 2), (2,)]),
        (lambda x: torch.unique_consecutive(x, dim=0), [(4, 3)]),
        (
            lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True),
            [(12,), (8, 3), (12,)],
        ),
    ],
)
def test_half_of_unknown_rows_are_distinct(asked: Any, shapes: Any, recorder: Recorder) -> None:
    found = asked(torch.empty(8, 3, device="meta"))
    found = found if isinstance(found, tuple) else (found,)
    assert [tuple(tensor.shape) for tensor in found] == shapes


def test_known_rows_keep_their_values_and_need_an_index_a_row(recorder: Recorder) -> None:
    with recorder.for_device():
        rows = torch.tensor([[0, 1], [2, 3], [0, 1]])
    before = len(recorder.stream(1).nbytes)
    found, inverse = torch.unique(rows, dim=0, return_inverse=True)
    assert found.tolist() == [[0, 1], [2, 3]]
    assert inverse.tolist() == [0, 1, 0]
    made = [e.nbytes for e in recorder.stream(1).allocs()][before:]
    # The index range, the sort's copy, the runs' numbers, the inverse and the rows.
    assert made == [24, 24, 24, 24, 32]


def test_without_a_supplier_there_is_no_answer(recorder: Recorder) -> None:
    recorder.values = KnownValues()
    with pytest.raises(DataDependenceError):
        torch.unique(torch.empty(8, 3, device="meta"), dim=0)


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def _reductions(recordings: Any, recorder: Any) -> list[StridedReduction]:
    requests = [a.request for a in recordings.allocs(recorder.stream(1))]
    return [request for request in requests if isinstance(request, StridedReduction)]


def test_a_biass_gradient_is_summed_over_rows_by_many_blocks(recordings: Any) -> None:
    layer = torch.nn.Linear(16, 32, device="meta")
    with recordings.recording(layer) as recorder:
        output = layer(_meta(100, 16))
        recorder.mark(1, Phase.BACKWARD)
        output.backward(_meta(100, 32))
    assert _reductions(recordings, recorder) == [StridedReduction(32, 100, 4)]


def test_sums_along_inner_axes_and_of_expanded_tensors_need_no_buffer(recordings: Any) -> None:
    with recordings.recording() as recorder:
        _ = _meta(8, 16, 5).sum((1, 2)), _meta(()).expand(8, 16).sum(0), _meta(4, 5).sum()
    assert _reductions(recordings, recorder) == []


def test_the_mean_of_a_channels_last_map_needs_one(recordings: Any) -> None:
    data = _meta(2, 8, 6, 6).to(memory_format=torch.channels_last)[:1]
    with recordings.recording() as recorder:
        data.mean((2, 3))
    assert _reductions(recordings, recorder) == [StridedReduction(8, 36, 4)]


def test_a_strided_input_of_a_layer_norm_is_copied(recordings: Any) -> None:
    norm = torch.nn.LayerNorm(8, device="meta")
    data = _meta(2, 8, 6).transpose(1, 2)
    with recordings.recording(norm) as recorder:
        norm(data)
        norm(_meta(2, 6, 8))
    copies = recordings.allocs(recorder.stream(1), op="aten.contiguous")
    assert [copy.nbytes for copy in copies] == [4 * data.numel()]
