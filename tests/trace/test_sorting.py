from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.unknown_values import DataDependenceError


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = new_recorder(Attribution(nn.Module()))
    made.unknown = AssumedValues(Scenario.EXPECTED, {})
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
    recorder.unknown = None
    with pytest.raises(DataDependenceError):
        torch.unique(torch.empty(8, 3, device="meta"), dim=0)
