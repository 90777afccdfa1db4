from typing import Any

import numpy as np
import torch
from torch import nn

from bevdiag.memory.device import make_target
from bevdiag.memory.simulate import walk
from bevdiag.trace.settling import SETTLED_STEPS, settle
from bevdiag.trace.step import Trace


class _Keeps(nn.Module):
    """Holds on to its targets until the next step, as OpenPCDet's heads do; `grows` for ever."""

    def __init__(self, *, grows: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(8, 300, device="meta")
        self.second = nn.Linear(300, 1, device="meta")
        self.kept: list[torch.Tensor] = []
        self.grows = grows

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        hidden = self.first(batch["x"])
        targets = [torch.zeros_like(hidden), hidden.detach() * 2]
        self.kept = [*self.kept, *targets] if self.grows else targets
        loss: torch.Tensor = (self.second(hidden - targets[1])).sum()
        return loss


def _trace(recordings: Any, *, num_steps: int = 2, grows: bool = False) -> Trace:
    batch = {"x": torch.empty(2000, 8, device="meta")}
    traced: Trace = recordings.steps(
        _Keeps(grows=grows), batch, optimizer="adamw", num_steps=num_steps
    )
    return traced


def _asked(trace: Trace) -> list[tuple[object, ...]]:
    stream = trace.stream
    return [
        *stream.sections(),
        *np.sign(stream.events).tolist(),
        *((e.step, e.phase, e.module, e.op, e.nbytes) for e in stream.allocs()),
    ]


def test_a_settled_trace_is_that_of_more_steps(recordings: Any) -> None:
    settled, traced = settle(_trace(recordings)), _trace(recordings, num_steps=SETTLED_STEPS)
    assert settled.stream.num_steps == SETTLED_STEPS
    assert _asked(settled) == _asked(traced)
    assert settled.departures == traced.departures
    target = make_target(torch="2.11.0", gpu="h200", cudnn="9.19")
    totals = [walk(trace.stream, target).allocated.tolist() for trace in (settled, traced)]
    assert totals[0] == totals[1]


def test_a_step_that_leaves_more_than_it_found_is_not_repeated(recordings: Any) -> None:
    trace = _trace(recordings, grows=True)
    assert settle(trace) is trace


def test_enough_steps_are_enough(recordings: Any) -> None:
    trace = _trace(recordings, num_steps=SETTLED_STEPS)
    assert settle(trace) is trace
