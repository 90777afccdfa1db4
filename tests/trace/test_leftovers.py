"""The steps after the first, as it shows them: those of a trace that runs them."""

from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.models.contracts import Kept
from bevdiag.trace.settling import SETTLED_STEPS, settle


class _Head(nn.Module):
    """Keeps what it computed, holds a tensor of its own and weights that no optimizer knows.

    Args:
        hidden: whether it is kept where nobody hears of it.
    """

    def __init__(self, *, hidden: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(8, 32, device="meta")
        self.attention = nn.MultiheadAttention(32, 2, device="meta")
        self.size = torch.empty(3, device="meta")
        self.kept = Kept()
        self.held: Any = None
        self.hidden = hidden

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        features = self.first(batch["x"])
        self.kept["features"] = features * self.size[0]
        attended, _ = self.attention(features, features, features)
        self.kept["both"] = [attended.exp(), self.kept["features"]]
        if self.hidden:
            self.held = attended.exp()
        loss: torch.Tensor = self.kept["both"][0].sum() + self.kept["features"].sum()
        return loss


@pytest.mark.parametrize("autocast", ["off", "fp16"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adam_onecycle", "sgd"])
def test_the_steps_after_the_first_are_those_that_run(
    recordings: Any, optimizer: str, autocast: str
) -> None:
    batch = {"x": torch.empty(20, 8, device="meta")}
    shown, ran = (
        settle(
            recordings.steps(
                _Head(), batch, optimizer=optimizer, autocast=autocast, num_steps=steps
            )
        )
        for steps in (1, SETTLED_STEPS)
    )
    assert shown.leftovers is None
    assert shown.stream.num_steps == SETTLED_STEPS
    assert shown.stream.events.tolist() == ran.stream.events.tolist()
    assert list(shown.stream.allocs()) == list(ran.stream.allocs())
    assert shown.departures == ran.departures
    assert bool(shown.params_not_optimized) == (optimizer == "adam_onecycle")


def test_what_is_kept_unheard_leaves_the_next_step_unknown(recordings: Any) -> None:
    batch = {"x": torch.empty(20, 8, device="meta")}
    trace = recordings.steps(_Head(hidden=True), batch, num_steps=1)
    assert settle(trace) is trace
    assert trace.leftovers is not None
