from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.mixed_values import is_mixed, mixed_get, mixed_set
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.recorder import Recorder

MASK = torch.tensor([True, False, True, True])
ROWS = torch.tensor([3, 0, 0])
COLUMNS = torch.tensor([1, 2, 1])

INDICES = [
    MASK,
    ROWS,
    (MASK, 1),
    (ROWS, COLUMNS),
    (slice(None), COLUMNS),
    (..., COLUMNS),
    (None, MASK),
    (ROWS, None),
    (slice(1, 3), slice(None), COLUMNS),
    (0, COLUMNS),
    (torch.ones(4, 3, dtype=torch.bool),),
    (ROWS, [0, 1, 2]),
    (torch.tensor(2), COLUMNS),
]


@pytest.fixture
def recorder() -> Recorder:
    return new_recorder(Attribution(nn.Module()))


@pytest.mark.parametrize("index", INDICES)
def test_shapes_are_those_of_plain_indexing(index: Any, recorder: Recorder) -> None:
    plain = torch.zeros(4, 3, 5)
    with recorder:
        found = mixed_get(torch.empty(4, 3, 5, device="meta"), index)
    assert found.is_meta
    assert found.shape == plain[index].shape


@pytest.mark.parametrize("index", [(slice(None), COLUMNS), (slice(1, 3), COLUMNS)])
def test_what_is_written_goes_through_a_view_where_pytorch_makes_one(
    index: Any, recorder: Recorder
) -> None:
    # PyTorch 2.5 makes a view of an axis that is taken whole, later ones do not.
    plain = torch.zeros(4, 3)
    plain[index] = torch.zeros(plain[index].shape, requires_grad=True)
    target = torch.zeros(4, 3, device="meta")
    value = torch.zeros(plain[index].shape, device="meta", requires_grad=True)
    with recorder:
        mixed_set(recorder, target, index, value)
    assert type(target.grad_fn) is type(plain.grad_fn)


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("value", [2.0, torch.zeros(1)])
def test_writing_takes_the_same_indices(index: Any, value: Any, recorder: Recorder) -> None:
    written = torch.empty(4, 3, 5, device="meta")
    with recorder:
        mixed_set(recorder, written, index, value)
    assert written.shape == (4, 3, 5)


@pytest.mark.parametrize("index", [0, slice(1, 2), (None, 1), torch.tensor(2)])
def test_plain_indices_are_left_to_pytorch(index: Any) -> None:
    assert not is_mixed(torch.empty(4, 3, device="meta"), index)


def test_an_index_of_the_tensor_s_own_kind_is_left_to_pytorch() -> None:
    assert not is_mixed(torch.zeros(4, 3), ROWS)
    features = torch.empty(4, 3, device="meta")
    assert not is_mixed(features, torch.empty_like(ROWS, device="meta"))
    assert is_mixed(features, ROWS)


CELLS = [[0, 1, 2, 3], [4, 0, 4, 2]]


@pytest.fixture
def running() -> Iterator[Recorder]:
    made = new_recorder(Attribution(nn.Module()))
    values = AssumedValues(Scenario.EXPECTED, {})
    gpu = SimulatedGpu(made, values)
    begin(gpu)
    with made, gpu:
        yield made


def _summed(values: torch.Tensor) -> torch.Tensor:
    indices = torch.tensor(CELLS)
    return torch.sparse.sum(torch.sparse_coo_tensor(indices, values), dim=0).to_dense()


def test_a_sum_has_the_shape_of_pytorch_s_and_passes_gradients(running: Recorder) -> None:
    values = torch.empty(4, 7, device="meta", requires_grad=True)
    dense = _summed(values)
    assert (dense.is_meta, dense.shape) == (True, (5, 7))
    dense.sum().backward()
    assert values.grad is not None
    assert values.grad.shape == values.shape


def test_a_given_size_is_kept(running: Recorder) -> None:
    indices, values = torch.tensor(CELLS), torch.empty(4, device="meta")
    dense = torch.sparse_coo_tensor(indices, values, size=(9, 6)).to_dense()
    assert dense.shape == (9, 6)


@pytest.mark.parametrize("device", ["meta", "cuda"])
def test_indices_need_no_values_where_the_size_is_given(device: str, running: Recorder) -> None:
    indices = torch.empty(2, 4, dtype=torch.int64, device="meta")
    values = torch.ones(4, device=device)
    dense = torch.sparse_coo_tensor(indices, values, size=(9, 6)).to_dense()
    assert (dense.is_meta, dense.shape) == (True, (9, 6))


def test_values_are_summed_by_pytorch(running: Recorder) -> None:
    dense = _summed(torch.ones(4, 7))
    assert dense.sum(dim=1).tolist() == [7, 0, 7, 0, 14]


def test_other_operations_are_named(running: Recorder) -> None:
    made = torch.sparse_coo_tensor(torch.tensor(CELLS), torch.empty(4, 7, device="meta"))
    with pytest.raises(NoVerdictError, match="relu of a sparse tensor without values"):
        torch.relu(made)
    with pytest.raises(NoVerdictError, match="summed over several axes"):
        torch.sparse.sum(made, dim=[0, 1])
