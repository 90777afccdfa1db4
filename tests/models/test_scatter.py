"""What the kernels of torch_scatter take, and what may stand for them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bevdiag.models import scatter
from bevdiag.source.stubs import scatter as stub
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder

BY_PYTORCH = {"torch_scatter": "scatter_reduce"}
INDEX = torch.tensor([0, 2, 2, 0])


@pytest.mark.parametrize(
    ("replaced", "made"),
    [
        ({}, [60, 120, 15]),  # the maxima, an int64 index of their shape, what has no rows
        (BY_PYTORCH, [60, 60, 120]),  # zeros to begin with, the maxima, an index that nobody keeps
    ],
)
def test_a_maximum_makes_what_its_kernel_does(replaced: dict[str, str], made: list[int]) -> None:
    recorder = new_recorder(Attribution(nn.Module()))
    with recorder, scatter.replaced(replaced):
        features = torch.empty(4, 5, device="meta", requires_grad=True)
        before = len([*recorder.stream(1).allocs()])
        scatter.extreme("amax", features, INDEX, 0, None, 3)
        allocated = [*recorder.stream(1).allocs()][before:]
    assert [event.nbytes for event in allocated] == made


@pytest.mark.parametrize("replaced", [{}, BY_PYTORCH])
def test_values_and_gradients_are_the_same_either_way(replaced: dict[str, str]) -> None:
    features = torch.tensor([[1.0], [4.0], [3.0], [2.0]], requires_grad=True)
    with scatter.replaced(replaced):
        largest, _ = scatter.extreme("amax", features, INDEX, 0, None, 3)
        mean = scatter.mean(features, INDEX, 0, None, 3)
    assert largest.flatten().tolist() == [2.0, 0.0, 4.0]
    assert mean.flatten().tolist() == [1.5, 0.0, 3.5]
    (2 * largest.sum() + mean.sum()).backward()
    assert features.grad is not None
    assert features.grad.flatten().tolist() == [0.5, 2.5, 0.5, 2.5]


def test_rows_are_found_in_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatter, "_ROWS_AT_ONCE", 3)
    features = torch.arange(10.0).view(-1, 1)
    _, places = scatter.extreme("amax", features, torch.arange(10) % 2, 0, None, 3)
    assert places.flatten().tolist() == [8, 9, 10]


def test_the_stub_is_replaced_with_it() -> None:
    made: list[Tensor] = []
    for replaced in ({}, BY_PYTORCH):
        with scatter.replaced(replaced):
            out: Any = stub.scatter_max(torch.rand(4, 2, requires_grad=True), INDEX, dim=0)
        made.append(out[0])
    kernel, reduced = (out.grad_fn for out in made)
    assert type(kernel).__name__ == "ExtremeBackward"
    assert type(reduced).__name__ == "ScatterReduceBackward0"


def test_what_replaces_ends_with_its_block() -> None:
    with scatter.replaced(BY_PYTORCH), scatter.replaced({}):
        out, _ = scatter.extreme("amax", torch.rand(4, 2, requires_grad=True), INDEX, 0, None, 3)
    assert type(out.grad_fn).__name__ == "ExtremeBackward"
