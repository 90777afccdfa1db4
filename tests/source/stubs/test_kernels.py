"""What kernels on sequences allocate: scans, convolutions, attention."""

from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.stubs.kernels import (
    causal_conv1d_fn,
    chamfer_distance,
    selective_scan,
    selective_scan_backward,
)
from bevdiag.source.stubs.small_packages import modules_of
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder

INTERFACE: Any = modules_of("flash_attn")["flash_attn.flash_attn_interface"]
ATTEND = INTERFACE.flash_attn_unpadded_kvpacked_func
QUERIES, HEADS, WIDTH = 20, 2, 32
STARTS = torch.tensor([0, QUERIES], dtype=torch.int32)
OUT, SUMS = QUERIES * HEADS * WIDTH * 2, HEADS * 32 * 4


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


def test_a_convolution_has_no_values() -> None:
    with pytest.raises(NoVerdictError, match="no values"):
        causal_conv1d_fn(torch.ones(1, 2, 3), torch.ones(2, 4))


def _inputs(keys: int) -> list[torch.Tensor]:
    shapes = (QUERIES, HEADS, WIDTH), (keys, 2, HEADS, WIDTH)
    return [
        torch.empty(shape, dtype=torch.float16, device="meta", requires_grad=True)
        for shape in shapes
    ]


@pytest.mark.parametrize(("keys", "in_float"), [(256, []), (257, [2 * OUT])])
def test_more_keys_than_a_block_are_added_up_in_float(keys: int, in_float: list[int]) -> None:
    recorder = new_recorder(Attribution(nn.Module()))
    q, kv = _inputs(keys)
    with recorder:
        out = ATTEND(q, kv, STARTS, STARTS, QUERIES, keys, 0.1, softmax_scale=None, causal=False)
        assert recorder.stream(1).nbytes.tolist() == [OUT, *in_float, SUMS]
        torch.autograd.backward(out, torch.empty_like(out))
    grads = recorder.stream(1).nbytes.tolist()[len(in_float) + 2 :]
    assert grads == [OUT, OUT, keys * 2 * HEADS * WIDTH * 2, SUMS, *in_float]


def test_attention_has_no_values() -> None:
    q, kv = (torch.zeros(part.shape, dtype=torch.float16) for part in _inputs(4))
    with pytest.raises(NoVerdictError, match="flash_attn have no values on the CPU"):
        ATTEND(q, kv, STARTS, STARTS, QUERIES, 4)


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
