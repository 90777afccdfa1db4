from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.source import state
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs import scatter
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder

INDEX = torch.tensor([0, 2, 2, 0])


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = new_recorder(Attribution(nn.Module()))
    values = AssumedValues(Scenario.EXPECTED, {})
    gpu = SimulatedGpu(made, values)
    begin(gpu)
    with made, gpu:
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
    shapes = [e.shape for e in recorder.stream(1).allocs()]
    assert shapes == [(4, 5), (3, 5), (4,), (3,)]  # the division is in place


def test_points_lose_their_values_and_keep_their_memory(recorder: Recorder) -> None:
    with recorder.for_device():
        points = torch.rand(4, 3, device="cpu")
    before = len(recorder.stream(1).nbytes)
    maximum, _ = scatter.scatter_max(points, INDEX, dim=0)
    assert maximum.is_meta
    shapes = [e.shape for e in recorder.stream(1).allocs()][before:]
    assert (4, 3) not in shapes


def _by_hand(src: torch.Tensor, index: torch.Tensor, dim: int, how: str, size: int) -> Any:
    moved = src.movedim(dim, 0)
    rows = []
    for place in range(size):
        of_place = moved[index == place]
        if not len(of_place):
            rows.append(torch.full(moved.shape[1:], 1.0 if how == "mul" else 0.0))
            continue
        reduced: Any = {
            "sum": lambda x: x.sum(0),
            "mul": lambda x: x.prod(0),
            "mean": lambda x: x.mean(0),
            "max": lambda x: x.max(0).values,
            "min": lambda x: x.min(0).values,
            "std": lambda x: x.std(0) if len(x) > 1 else torch.zeros(x.shape[1:]),
        }[how](of_place)
        rows.append(reduced)
    return torch.stack(rows).movedim(0, dim)


@pytest.fixture
def no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_running", [])


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("how", ["sum", "mul", "mean", "max", "min", "std"])
def test_values_along_any_axis(how: str, dim: int, no_trace: None) -> None:
    src = torch.rand(4, 4, 4)
    made = (
        scatter.scatter_std(src, INDEX, dim, dim_size=4)
        if how == "std"
        else scatter.scatter(src, INDEX, dim, dim_size=4, reduce=how)
    )
    torch.testing.assert_close(made, _by_hand(src, INDEX, dim, how, 4), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_is_among_the_rows_of_an_index(dim: int, no_trace: None) -> None:
    src = torch.rand(4, 4)
    made = scatter.scatter_softmax(src, INDEX, dim)
    torch.testing.assert_close(scatter.scatter_log_softmax(src, INDEX, dim).exp(), made)
    torch.testing.assert_close(scatter.scatter_sum(made, INDEX, dim).select(dim, 2), torch.ones(4))
    torch.testing.assert_close(
        scatter.scatter_logsumexp(src, INDEX, dim).select(dim, 0),
        src.index_select(dim, torch.tensor([0, 3])).logsumexp(dim),
    )


def test_the_place_of_an_extreme(no_trace: None) -> None:
    values = torch.tensor([[1.0, 9.0], [3.0, 4.0], [7.0, 2.0], [5.0, 6.0]], requires_grad=True)
    out, places = scatter.scatter_max(values, INDEX, 0)
    assert places.tolist() == [[3, 0], [4, 4], [2, 1]]
    out.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]


@pytest.mark.parametrize("how", ["sum", "mean", "max", "min"])
def test_segments_are_sorted_scatters(how: str, no_trace: None) -> None:
    src, ordered = torch.rand(5, 3, requires_grad=True), torch.tensor([0, 0, 2, 2, 2])
    pointers = torch.tensor([0, 2, 2, 5])
    expected = scatter.scatter(src, ordered, 0, reduce=how)
    for made in (
        scatter.segment_csr(src, pointers, reduce=how),
        scatter.segment_coo(src, ordered, reduce=how),
    ):
        torch.testing.assert_close(made, expected)
        (grad,) = torch.autograd.grad(made.sum(), src)
        (wanted,) = torch.autograd.grad(expected.sum(), src, retain_graph=True)
        torch.testing.assert_close(grad, wanted)


def test_gathering_repeats_rows(no_trace: None) -> None:
    src = torch.rand(3, 2)
    pointers = torch.tensor([0, 2, 2, 5])
    torch.testing.assert_close(scatter.gather_csr(src, pointers), src[[0, 0, 2, 2, 2]])


@pytest.mark.parametrize(
    "made",
    [
        lambda x: scatter.scatter_softmax(x, INDEX, 0),
        lambda x: scatter.scatter_log_softmax(x, INDEX, 0),
        lambda x: scatter.scatter_std(x, INDEX, 0),
        lambda x: scatter.scatter_logsumexp(x, INDEX, 0),
        lambda x: scatter.scatter_mul(x, INDEX, 0),
        lambda x: scatter.scatter_sum(x.t(), INDEX, 1),
        lambda x: scatter.segment_csr(x, torch.tensor([0, 1, 4]), reduce="mean"),
        lambda x: scatter.segment_coo(x, torch.tensor([0, 0, 1, 1]), reduce="max"),
        lambda x: scatter.gather_csr(x, torch.tensor([0, 1, 4, 4, 6])),
    ],
)
def test_features_pass_forward_and_backward(made: Any, recorder: Recorder) -> None:
    features = torch.empty(4, 5, device="meta", requires_grad=True)
    out = made(features)
    assert out.is_meta
    out.sum().backward()
    assert features.grad is not None


def test_a_maximum_keeps_an_index_as_large_as_itself(recorder: Recorder) -> None:
    features = torch.empty(4, 5, device="meta", requires_grad=True)
    scatter.scatter_max(features, INDEX, 0)
    made = [(e.shape, e.dtype) for e in recorder.stream(1).allocs()]
    assert made[1:] == [((3, 5), "float32"), ((3, 5), "int64"), ((3, 5), "bool")]
