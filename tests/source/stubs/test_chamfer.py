import pytest
import torch

from bevdiag.errors import NoVerdictError
from bevdiag.source.stubs.chamfer import chamfer_distance


def _sets() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(5, 4, 3, generator=random), torch.rand(5, 7, 3, generator=random)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_it_is_the_mean_distance_to_the_nearest_both_ways(is_weighted: bool) -> None:
    x, y = _sets()
    weights = torch.tensor([1.0, 0, 1, 1, 0]) if is_weighted else torch.ones(5)
    squares = torch.cdist(x, y).square()
    both = squares.min(2)[0].mean(1) + squares.min(1)[0].mean(1)
    found, _ = chamfer_distance(x, y, weights=weights if is_weighted else None)
    torch.testing.assert_close(found, (both * weights).sum() / weights.sum())


def test_it_goes_back_without_values() -> None:
    x, y = (points.to("meta").requires_grad_() for points in _sets())
    found, _ = chamfer_distance(x, y, weights=torch.ones(5, device="meta"))
    found.backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert y.grad is not None


def test_a_set_with_values_beside_one_without_has_no_distance() -> None:
    x, y = _sets()
    found, _ = chamfer_distance(x.to("meta"), y)
    assert found.is_meta


def test_what_has_no_definition_is_said() -> None:
    x, y = _sets()
    with pytest.raises(NoVerdictError, match="lengths"):
        chamfer_distance(x, y, x_lengths=torch.tensor([4, 4, 4, 2, 1]))
    with pytest.raises(NoVerdictError, match="normals"):
        chamfer_distance(x, y, x_normals=x)
