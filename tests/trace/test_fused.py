"""Attention in a trace: the kernel's tensors, in their order."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.memory.device import make_target
from bevdiag.memory.requests import RnnCall
from bevdiag.memory.workspaces import reserve_bytes
from bevdiag.trace.any_model import trace_model
from bevdiag.trace.flops import FlopCounter
from bevdiag.trace.step import StepOptions


class _Attends(nn.Module):
    def __init__(self, mask: Tensor | None = None, **options: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)
        self.register_buffer("mask", mask)
        self.options = options

    def forward(self, data: Tensor) -> Tensor:
        heads = self.linear(data).view(*data.shape[:2], 4, 16).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(
            heads, heads, heads, attn_mask=self.mask, **self.options
        ).transpose(1, 2)


def _made(model: nn.Module, autocast: str = "off", gpu: str = "h200") -> list[tuple[str, int]]:
    target = make_target(torch="2.11.0", gpu=gpu)
    options = StepOptions(
        optimization=OptimizationSettings(), optimizer="sgd", autocast=autocast, target=target
    )
    traced = trace_model(
        model, torch.zeros(2, 40, 64), lambda out: out.float().mean(), options
    ).expected
    return [
        (event.op.partition("_attention")[2], event.nbytes)
        for event in traced.stream.allocs()
        if event.step == 1 and "dot_product" in event.op
    ]


ELEMENTS = 2 * 4 * 40 * 16


def test_memory_efficient_attention_of_float32() -> None:
    full, lse, row = 4 * ELEMENTS, 4 * 8 * 64, 4 * 8 * 40
    assert [nbytes for _, nbytes in _made(_Attends())] == [
        *(full, lse),
        *(full, full, full),
        *(full, row, row),  # the sums over each row of gradient times output
        8 * (4 * 64 * 64 + 16),
    ]


def test_each_gpus_kernel_for_half_precision() -> None:
    half, rows = 2 * ELEMENTS, 4 * 8 * 40
    assert _made(_Attends(), "bf16") == [
        (" (cuDNN)", half),
        (" (cuDNN)", rows),
        (" (cuDNN)", 256),
        *[("_backward (cuDNN)", half)] * 3,
        ("_backward (cuDNN)", 17 * rows + 256),
    ]
    assert {op for op, _ in _made(_Attends(), "bf16", "rtx4090")} == {
        " (flash)",
        "_backward (flash)",
    }


def test_a_boolean_mask_keeps_the_memory_efficient_kernel() -> None:
    mask = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    assert {op for op, _ in _made(_Attends(mask))} == {
        " (memory-efficient)",
        "_backward (memory-efficient)",
    }


def test_plain_products_where_no_kernel_is() -> None:
    class Odd(_Attends):
        def forward(self, data: Tensor) -> Tensor:
            heads = self.linear(data)[..., :34].unsqueeze(1)
            return nn.functional.scaled_dot_product_attention(heads, heads, heads)

    assert _made(Odd()) == []


def test_multihead_attention_without_weights_is_one_kernel() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(64, 4, batch_first=True)

        def forward(self, data: Tensor) -> Tensor:
            out: Tensor = self.attention(data, data, data, need_weights=False)[0]
            return out

    assert _made(Layer())[0] == (" (memory-efficient)", 4 * ELEMENTS)


def test_its_operations_are_counted(recordings: Any) -> None:
    from bevdiag.trace.fused import attend

    query = torch.empty(2, 4, 40, 16, device="meta", requires_grad=True)
    counter = FlopCounter(1)
    with recordings.recording() as recorder, counter.around(recorder):
        attend(recorder, make_target(torch="2.11.0", gpu="h200"), query, query, query)
    assert counter.flops == pytest.approx(2 * 2 * 8 * 40 * 40 * 16)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_layer_is_one_call(kind: type[nn.RNNBase], batch_first: bool) -> None:
    model = kind(8, 16, num_layers=2, batch_first=batch_first, dropout=0.5)
    data = torch.zeros(5, 7, 8)
    options = StepOptions(
        optimization=OptimizationSettings(),
        optimizer="sgd",
        target=make_target(torch="2.11.0", gpu="h200"),
    )
    traced = trace_model(model, data, lambda out: out[0].sum(), options).expected
    made = [e for e in traced.stream.allocs() if e.step == 1]
    calls = {e.request for e in made if isinstance(e.request, RnnCall)}
    (call,) = calls
    assert (call.steps, call.batch) == ((7, 5) if batch_first else (5, 7))
    sizes = [e.nbytes for e in made]
    assert reserve_bytes(call) in sizes
    assert 132 * 49152 in sizes  # the state of cuDNN's dropout
    assert 4 * sum(p.numel() for p in model.parameters()) in sizes  # all gradients in one buffer
    assert traced.params_without_grad == {}
