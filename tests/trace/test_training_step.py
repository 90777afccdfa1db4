"""The order of a step's parts, and what is alive as each phase begins."""

import weakref
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.memory.events import Phase
from bevdiag.trace.training_step import TrainingStep, copied, cuda_step


class _Batch(dict[str, Any]):
    """A dict that can be referred to weakly."""


@pytest.fixture
def heard() -> list[str]:
    return []


def _step(heard: list[str], *, accumulate: int = 1, updates: bool = True) -> TrainingStep:
    def loss(batch: _Batch) -> torch.Tensor:
        heard.append(f"loss, gradients {torch.is_grad_enabled()}")
        return torch.ones(1, requires_grad=True) * 2

    return TrainingStep(
        batch=lambda: heard.append("batch") or _Batch(),  # type: ignore[func-returns-value]
        loss=loss,
        backward=lambda _: heard.append("backward"),
        update=(lambda: heard.append("update")) if updates else None,
        accumulate=accumulate,
    )


def test_a_phase_runs_when_the_next_is_asked_for(heard: list[str]) -> None:
    for phase in _step(heard).phases():
        heard.append(phase.value)

    assert heard == [
        *("forward", "batch", "loss, gradients True"),
        *("backward", "backward"),
        *("optimizer", "update"),
    ]


def test_several_batches_make_one_update(heard: list[str]) -> None:
    phases = list(_step(heard, accumulate=3).phases())

    assert phases == [Phase.FORWARD, Phase.BACKWARD] * 3 + [Phase.OPTIMIZER]
    assert heard.count("update") == 1


def test_an_evaluation_has_no_gradients_and_no_update(heard: list[str]) -> None:
    assert list(_step(heard, updates=False).ended()) == [Phase.FORWARD]
    assert heard == ["batch", "loss, gradients False"]


def test_the_batch_dies_as_backward_begins_and_the_loss_as_the_optimizer_does() -> None:
    held: dict[str, Any] = {}

    def batch() -> _Batch:
        made = _Batch()
        held["batch"] = weakref.ref(made)
        return made

    def loss(_: _Batch) -> torch.Tensor:
        made = torch.ones(1)
        held["loss"] = weakref.ref(made)
        return made

    alive = []
    step = TrainingStep(
        batch=batch,
        loss=loss,
        backward=lambda _: alive.append(("backward", held["batch"]() is not None)),
        update=lambda: alive.append(("update", held["loss"]() is not None)),
    )
    for phase in step.phases():
        if phase is Phase.BACKWARD:
            alive.append(("begin", held["batch"]() is not None))

    assert alive == [("begin", True), ("backward", False), ("update", False)]


def test_phases_end_in_the_order_in_which_they_begin(heard: list[str]) -> None:
    for phase in _step(heard).ended():
        heard.append(phase.value)

    assert heard[2:] == ["forward", "backward", "backward", "update", "optimizer"]


def test_a_batch_is_copied_tensor_by_tensor() -> None:
    batch = {"points": torch.ones(2), "batch_size": 1}

    fresh = copied(batch)

    assert fresh["points"] is not batch["points"]
    assert fresh["batch_size"] == 1


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_the_step_of_a_gpu_changes_the_weights_and_drops_gradients() -> None:
    class Model(nn.Linear):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
            return super().forward(batch["points"]).sum()

    model = Model(2, 1)
    before = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    step = cuda_step(model, {"points": torch.ones(1, 2)}, optimizer, autocast="off", max_norm=0.5)

    assert list(step.ended()) == [Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER]
    assert float((model.weight - before).norm()) <= 0.5
    assert not torch.equal(model.weight, before)
    assert model.weight.grad is None
