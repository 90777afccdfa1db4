"""Recurrent layers in a trace: one call of cuDNN's."""

import pytest
import torch
from torch import nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.memory.device import make_target
from bevdiag.memory.requests import RnnCall
from bevdiag.memory.workspaces import reserve_bytes
from bevdiag.trace.any_model import trace_model
from bevdiag.trace.step import StepOptions


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
