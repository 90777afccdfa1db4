import pytest
import torch

from bevdiag.errors import NoVerdictError
from bevdiag.source.stubs.scans import (
    causal_conv1d_fn,
    selective_scan,
    selective_scan_backward,
)


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def test_a_scan_keeps_its_state_once_a_chunk() -> None:
    u, a, b = _meta(2, 8, 5000), _meta(8, 16), _meta(2, 1, 16, 5000)
    out, states, gated = selective_scan(u, u, a, b, b, _meta(8), u)
    assert out.shape == gated.shape == u.shape
    assert states.shape == (2, 8, 3, 32)
    back = selective_scan_backward(u, u, a, b, b, _meta(8), u, _meta(8), out, states, out, None)
    assert [g.shape for g in back[:4]] == [u.shape, u.shape, a.shape, b.shape]


def test_a_causal_convolution_has_gradients() -> None:
    x = _meta(2, 8, 10).requires_grad_()
    weight = _meta(8, 4).requires_grad_()
    causal_conv1d_fn(x, weight).sum().backward()
    assert x.grad is not None
    assert weight.grad is not None


def test_it_has_no_values() -> None:
    with pytest.raises(NoVerdictError, match="no values"):
        causal_conv1d_fn(torch.ones(1, 2, 3), torch.ones(2, 4))
