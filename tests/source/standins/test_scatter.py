from collections.abc import Iterator

import pytest
import torch
from torch import nn

from bevdiag.memory.events import Alloc
from bevdiag.source.lanes import DeviceLanes
from bevdiag.source.standins import scatter
from bevdiag.source.state import Running, begin
from bevdiag.source.values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder

INDEX = torch.tensor([0, 2, 2, 0])


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder(Attribution(nn.Module()))
    values = AssumedValues(Scenario.EXPECTED, {})
    lanes = DeviceLanes(made, values)
    begin(Running(lanes, values))
    with made, lanes:
        yield made


@pytest.mark.parametrize("reduce", ["sum", "add", "mean", "max", "min"])
def test_rows_of_features_become_one_an_index(reduce: str, recorder: Recorder) -> None:
    features = torch.empty(4, 5, device="meta", requires_grad=True)
    out = scatter.scatter(features, INDEX, dim=0, reduce=reduce)
    assert out.shape == (3, 5)
    out.sum().backward()
    assert features.grad is not None


def test_counts_keep_their_values(recorder: Recorder) -> None:
    ones = torch.ones(4, dtype=torch.int64)
    assert scatter.scatter_sum(ones, INDEX, dim=0).tolist() == [2, 0, 2]
    assert scatter.scatter_add(ones, INDEX, dim=0, dim_size=4).tolist() == [2, 0, 2, 0]


def test_a_mean_makes_its_sums_and_counts(recorder: Recorder) -> None:
    features = torch.empty(4, 5, device="meta")
    scatter.scatter_mean(features, INDEX, dim=0)
    shapes = [e.shape for e in recorder.stream(1).events if isinstance(e, Alloc)]
    assert shapes == [(4, 5), (3, 5), (4,), (3,), (3,), (3, 5)]


def test_points_lose_their_values_and_keep_their_memory(recorder: Recorder) -> None:
    with recorder.for_device():
        points = torch.rand(4, 3, device="cpu")
    before = sum(isinstance(e, Alloc) for e in recorder.stream(1).events)
    maximum, _ = scatter.scatter_max(points, INDEX, dim=0)
    assert maximum.is_meta
    shapes = [e.shape for e in recorder.stream(1).events if isinstance(e, Alloc)][before:]
    assert (4, 3) not in shapes


def test_other_axes_are_refused(recorder: Recorder) -> None:
    with pytest.raises(NotImplementedError, match="first axis"):
        scatter.scatter_sum(torch.empty(4, 5, device="meta"), INDEX, dim=1)
