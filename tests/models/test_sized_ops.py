from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bevdiag.models import sized_ops

RUNS = torch.tensor([1, 1, 3, 1])


def _tensors(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(
    ("operation", "values", "size"),
    [
        (sized_ops.unique_with_inverse, torch.tensor([5, 3, 5, 9]), 3),
        (sized_ops.unique_consecutive_rows, RUNS, 3),
        (sized_ops.bincount, torch.tensor([0, 2, 2]), 3),
        (sized_ops.nonzero, torch.tensor([[True, False], [True, True]]), 3),
    ],
)
def test_without_values_the_result_has_the_shape_of_the_real_one(
    operation: Callable[[Tensor, int | None], Tensor | tuple[Tensor, ...]],
    values: Tensor,
    size: int,
) -> None:
    real = _tensors(operation(values, None))
    empty = _tensors(operation(values.to("meta"), size))
    assert [(t.shape, t.dtype) for t in empty] == [(t.shape, t.dtype) for t in real]
    assert all(tensor.is_meta for tensor in empty)


def test_real_values_are_pytorchs_own() -> None:
    unique, inverse = sized_ops.unique_with_inverse(torch.tensor([5, 3, 5]), None)
    assert (unique.tolist(), inverse.tolist()) == ([3, 5], [1, 0, 1])
    rows, inverse, counts = sized_ops.unique_consecutive_rows(RUNS, None)
    assert rows.tolist() == [1, 3, 1]
    assert (inverse.tolist(), counts.tolist()) == ([0, 0, 1, 2], [2, 1, 1])
