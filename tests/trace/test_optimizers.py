from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.memory.events import Category, Phase
from bevdiag.trace.optimizers import LeafModuleAdam, build_optimizer, clip_gradients, update

SIZES = (16 * 8, 16, 4 * 16, 4)


class _Toy(nn.Module):
    def __init__(self, device: str = "meta") -> None:
        super().__init__()
        self.stem = nn.Linear(8, 16, device=device)
        self.head = nn.Linear(16, 4, device=device)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        loss: Tensor = self.head(self.stem(batch["x"])).pow(2).sum()
        return loss


class _Attends(nn.Module):
    """What OpenPCDet's one-cycle optimizer goes wrong on."""

    def __init__(self, device: str = "meta") -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, device=device)
        self.norm = nn.BatchNorm1d(8, device=device)
        self.head = nn.Linear(8, 4, device=device)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        x = batch["x"][None]
        attended = self.attention(x, x, x)[0][0]
        loss: Tensor = self.head(self.norm(attended)).pow(2).sum()
        return loss


def _batch(device: str = "meta") -> dict[str, Any]:
    return {"x": torch.ones(32, 8, device=device)}


def _optimizer_bytes(recordings: Any, name: str, step: int) -> Counter[int]:
    trace = recordings.steps(_Toy(), _batch(), optimizer=name)
    allocs = recordings.allocs(trace.stream, phase=Phase.OPTIMIZER, step=step)
    return Counter(a.nbytes for a in allocs)


def _of_each(times: int) -> Counter[int]:
    return Counter({4 * size: times for size in SIZES})


@pytest.mark.parametrize(
    ("name", "moments", "temporaries"),
    [
        # The denominator (the root of the second moment, in place from there on).
        ("adamw", 2, 1),
        # And the gradient with its weight decay.
        ("adam", 2, 2),
        ("adam_onecycle", 2, 1),
        ("adam_cosineanneal", 2, 1),
        ("sgd", 1, 1),
    ],
)
def test_state_is_made_once_and_foreach_temporaries_each_step(
    recordings: Any, name: str, moments: int, temporaries: int
) -> None:
    trace = recordings.steps(_Toy(), _batch(), optimizer=name)
    state = recordings.allocs(trace.stream, category=Category.OPTIMIZER_STATE)
    assert {a.step for a in state} == {1}
    assert Counter(a.nbytes for a in state) == _of_each(moments)
    of_step = [_optimizer_bytes(recordings, name, step) for step in (1, 2)]
    assert of_step[1] >= _of_each(temporaries)
    assert not of_step[1] >= _of_each(temporaries + 1)


def test_clipping_asks_for_norms_only(recordings: Any) -> None:
    parameters = [nn.Parameter(torch.empty(100, 100, device="meta")) for _ in range(3)]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    with recordings.recording() as recorder, torch.no_grad():
        clip_gradients(parameters, 1.0)
    sizes = [a.nbytes for a in recordings.allocs(recorder.stream(1)) if a.nbytes >= 100]
    assert sizes == []


def test_clipping_clips() -> None:
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), 5.0)
    clip_gradients([parameter], 1.0)
    torch.testing.assert_close(parameter.grad.norm(), torch.tensor(1.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_update_is_pytorchs_own_step(name: str) -> None:
    settings = OptimizationSettings(lr=0.1)
    models = [_Toy("cpu"), _Toy("cpu")]
    models[1].load_state_dict(models[0].state_dict())
    for model, run in zip(models, (update, lambda optimizer: optimizer.step()), strict=True):
        optimizer = build_optimizer(model, settings, name)
        for _ in range(2):
            model(_batch("cpu")).backward()
            run(optimizer)
            optimizer.zero_grad()
    for ours, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["adam_onecycle", "adam_cosineanneal"])
def test_one_cycle_leaves_out_what_is_not_a_leafs(recordings: Any, name: str) -> None:
    trace = recordings.steps(_Attends(), _batch(), optimizer=name)
    assert trace.params_not_optimized == {
        "attention.in_proj_weight": 3 * 8 * 8,
        "attention.in_proj_bias": 3 * 8,
    }
    state = recordings.allocs(trace.stream, category=Category.OPTIMIZER_STATE)
    assert (24, 8) not in {a.shape for a in state}
    known = 8 * 8 + 8 + 8 + 8 + 8 * 4 + 4
    assert sum(a.nbytes for a in state) == 2 * 4 * known


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_others_know_every_parameter(recordings: Any, name: str) -> None:
    trace = recordings.steps(_Attends(), _batch(), optimizer=name)
    assert trace.params_not_optimized == {}


def test_leaf_modules_give_a_group_of_norms_and_one_of_the_rest() -> None:
    optimizer = LeafModuleAdam(_Attends(), lr=0.1, weight_decay=0.01)
    others, norms = (group["params"] for group in optimizer.param_groups)
    assert [tuple(p.shape) for p in norms] == [(8,), (8,)]
    assert len(others) == 4


def test_one_cycle_decays_the_weights_directly() -> None:
    model = nn.Linear(2, 2, bias=False)
    nn.init.ones_(model.weight)
    model.weight.grad = torch.zeros(2, 2)
    update(LeafModuleAdam(model, lr=0.1, weight_decay=0.5))
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 2), 1 - 0.1 * 0.5))


def test_frozen_parameters_are_no_ones(recordings: Any) -> None:
    model = _Toy()
    model.stem.requires_grad_(False)
    trace = recordings.steps(model, _batch(), optimizer="adamw")
    assert trace.params_not_optimized == {}
    assert trace.params_without_grad == {}
    state = recordings.allocs(trace.stream, category=Category.OPTIMIZER_STATE)
    assert sum(a.nbytes for a in state) == 2 * 4 * (4 * 16 + 4)
