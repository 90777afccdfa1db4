"""Sparse tensors whose rows have no values: the same shapes, sums and refusals as PyTorch's."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import Running, begin
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder

INDICES = [[0, 1, 2, 3], [4, 0, 4, 2]]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder(Attribution(nn.Module()))
    values = AssumedValues(Scenario.EXPECTED, {})
    gpu = SimulatedGpu(made, values)
    begin(Running(gpu, values))
    with made, gpu:
        yield made


def _summed(values: torch.Tensor) -> torch.Tensor:
    indices = torch.tensor(INDICES)
    return torch.sparse.sum(torch.sparse_coo_tensor(indices, values), dim=0).to_dense()


def test_a_sum_has_the_shape_of_pytorch_s_and_passes_gradients(recorder: Recorder) -> None:
    values = torch.empty(4, 7, device="meta", requires_grad=True)
    dense = _summed(values)
    assert (dense.is_meta, dense.shape) == (True, (5, 7))
    dense.sum().backward()
    assert values.grad is not None
    assert values.grad.shape == values.shape


def test_a_given_size_is_kept(recorder: Recorder) -> None:
    indices, values = torch.tensor(INDICES), torch.empty(4, device="meta")
    dense = torch.sparse_coo_tensor(indices, values, size=(9, 6)).to_dense()
    assert dense.shape == (9, 6)


def test_indices_need_no_values_where_the_size_is_given(recorder: Recorder) -> None:
    indices = torch.empty(2, 4, dtype=torch.int64, device="meta")
    values = torch.empty(4, device="meta")
    dense = torch.sparse_coo_tensor(indices, values, size=(9, 6)).to_dense()
    assert (dense.is_meta, dense.shape) == (True, (9, 6))


def test_values_are_summed_by_pytorch(recorder: Recorder) -> None:
    dense = _summed(torch.ones(4, 7))
    assert dense.sum(dim=1).tolist() == [7, 0, 7, 0, 14]


def test_other_operations_are_named(recorder: Recorder) -> None:
    made = torch.sparse_coo_tensor(torch.tensor(INDICES), torch.empty(4, 7, device="meta"))
    with pytest.raises(NoVerdictError, match="relu of a sparse tensor without values"):
        torch.relu(made)
    with pytest.raises(NoVerdictError, match="summed over several axes"):
        torch.sparse.sum(made, dim=[0, 1])
