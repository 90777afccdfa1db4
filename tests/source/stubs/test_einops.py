import pytest
import torch

from bevdiag.source.stubs.einops import Rearrange, einsum, rearrange, repeat

X = torch.arange(24).view(2, 3, 4)


def test_axes_change_places_join_and_part() -> None:
    assert torch.equal(rearrange(X, "b l d -> d (b l)"), X.permute(2, 0, 1).reshape(4, 6))
    assert torch.equal(
        rearrange(X, "b l (h k) -> b h l k", k=2), X.view(2, 3, 2, 2).transpose(1, 2)
    )
    assert torch.equal(rearrange(X, "... d -> d ..."), X.permute(2, 0, 1))
    assert rearrange(X, "b l d -> b 1 d l").shape == (2, 1, 4, 3)
    assert torch.equal(Rearrange("b l d -> (b l) d")(X), X.view(6, 4))


def test_new_axes_repeat() -> None:
    assert torch.equal(repeat(X, "b l d -> b l d n", n=5), X[..., None].expand(2, 3, 4, 5))


def test_sums_over_axes_by_name() -> None:
    summed = einsum(X, X, "b row d, b row d -> b row")
    assert torch.equal(summed, (X * X).sum(-1))


def test_an_axis_on_one_side_alone() -> None:
    with pytest.raises(ValueError, match="one side alone"):
        rearrange(X, "b l d -> b l")
