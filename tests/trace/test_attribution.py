from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bevdiag.memory.events import Alloc, Phase
from bevdiag.trace.attribution import Attribution


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        before: Tensor = x.sin()
        return self.inner(before).cos() + x  # type: ignore[no-any-return]


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = _Block()
        self.second = _Block()

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.second(self.first(batch["x"]).exp()).tanh().sum()  # type: ignore[no-any-return]


def _batch() -> dict[str, Any]:
    return {"x": torch.empty(4, 8, device="meta", requires_grad=True)}


def _paths(recordings: Any, model: nn.Module, phase: Phase, step: int = 1) -> dict[str, set[str]]:
    """By operation, the modules it is charged to."""
    trace = recordings.steps(model, _batch())
    paths: dict[str, set[str]] = {}
    for alloc in recordings.allocs(trace.stream, phase=phase, step=step):
        paths.setdefault(alloc.op.split(".")[1], set()).add(alloc.module)
    return paths


def test_forward_is_charged_to_the_innermost_running_module(recordings: Any) -> None:
    paths = _paths(recordings, _Model(), Phase.FORWARD)
    assert paths["sin"] == paths["cos"] == {"first", "second"}
    assert paths["addmm"] == {"first.inner", "second.inner"}
    assert paths["exp"] == paths["tanh"] == {""}


def test_backward_leads_back_to_the_module_of_the_forward_operation(recordings: Any) -> None:
    for step in (1, 2):
        paths = _paths(recordings, _Model(), Phase.BACKWARD, step)
        assert paths["mm"] == {"first.inner", "second.inner"}
        # Of cos and sin: neg(sin(x)) and cos(x) times the gradient.
        assert paths["neg"] == {"first", "second"}
        assert paths["sin"] == {"first", "second"}
        assert paths["tanh_backward"] == {""}


def test_gradients_summed_at_a_parameter_belong_to_its_module(recordings: Any) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8, bias=False, device="meta")

        def forward(self, batch: dict[str, Any]) -> Tensor:
            first = self.layer(batch["x"])
            return (self.layer(first) + first).sum()  # type: ignore[no-any-return]

    trace = recordings.steps(Shared(), _batch())
    square = [a for a in recordings.allocs(trace.stream, phase=Phase.BACKWARD) if a.shape == (8, 8)]
    assert square
    assert {a.module for a in square} == {"layer"}


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_recomputed_checkpoint_is_charged_to_its_modules(
    recordings: Any, use_reentrant: bool
) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = _Block()

        def forward(self, batch: dict[str, Any]) -> Tensor:
            again: Tensor = checkpoint(self.block, batch["x"] * 2, use_reentrant=use_reentrant)
            return again.sum()

    trace = recordings.steps(Checkpointed(), _batch())
    backward = recordings.allocs(trace.stream, phase=Phase.BACKWARD, step=2)
    recomputed = {(a.op.split(".")[1], a.module) for a in backward}
    assert ("addmm", "block.inner") in recomputed
    assert ("sin", "block") in recomputed
    assert ("mm", "block.inner") in recomputed
    assert "" not in {module for op, module in recomputed if op in ("addmm", "sin", "cos", "mm")}


def test_modules_made_inside_a_forward_run_on_their_callers_account(recordings: Any) -> None:
    class Improvised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.holder = _Holder()
            self.scale = nn.Parameter(torch.empty(8, device="meta"))

        def forward(self, batch: dict[str, Any]) -> Tensor:
            return self.holder(batch["x"] * self.scale).sum()  # type: ignore[no-any-return]

    class _Holder(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.Softmax(dim=-1)(x)  # type: ignore[no-any-return]

    paths = _paths(recordings, Improvised(), Phase.FORWARD)
    assert paths["_softmax"] == {"holder"}


def test_leaving_is_reported_with_path_and_output() -> None:
    model, left = _Model(), []
    with Attribution(model, lambda path, module, inputs, output: left.append(path)) as attribution:
        attribution.begin_step()
        model(_batch())
    assert left == ["first.inner", "first", "second.inner", "second", ""]


def test_the_hooks_go_when_it_ends() -> None:
    model, left = _Model(), []
    with Attribution(model, lambda *_: left.append(1)):
        pass
    model(_batch())
    assert left == []


def test_a_module_that_raises_is_left() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ZeroDivisionError

    model = nn.Sequential(Fails())
    with Attribution(model) as attribution:
        attribution.begin_step()
        with pytest.raises(ZeroDivisionError):
            model(torch.empty(1, device="meta"))
        assert attribution.forward_path == ""


def test_each_step_starts_its_books_anew(recordings: Any) -> None:
    model = _Model()
    with Attribution(model) as attribution:
        sizes = []
        for _ in range(3):
            attribution.begin_step()
            model(_batch()).backward()
            sizes.append(len(attribution._boundaries))
    assert sizes[0] == sizes[1] == sizes[2]
    trace = recordings.steps(_Model(), _batch(), num_steps=3)
    rows = [
        [(e.op, e.module, e.nbytes) for e in trace.stream.allocs() if _in_backward(e, step)]
        for step in (2, 3)
    ]
    assert rows[0] == rows[1]


def _in_backward(event: Alloc, step: int) -> bool:
    return event.step == step and event.phase is Phase.BACKWARD


class _Nearest(torch.autograd.Function):
    """Indices, as ball queries and furthest point sampling make them, or features."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, features: bool) -> Tensor:
        return x * 2 if features else torch.empty(4, dtype=torch.long, device="meta")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * 2, None


class _Grouper(nn.Module):
    def __init__(self, *, features: bool = False, enabled: bool = True) -> None:
        super().__init__()
        self.features, self.enabled = features, enabled
        self.apply_it = _Nearest.apply

    def forward(self, x: Tensor) -> Any:
        with torch.set_grad_enabled(self.enabled):
            return self.apply_it(x, self.features)


class _Grouping(nn.Module):
    def __init__(self, grouper: nn.Module) -> None:
        super().__init__()
        self.grouper = grouper
        self.scale = nn.Parameter(torch.empty(8, device="meta"))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        self.grouper(batch["x"])
        return (batch["x"] * self.scale).sum()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("grouper", "is_dead"),
    [
        (_Grouper(), False),
        (_Grouper(features=True), True),
        (_Grouper(features=True, enabled=False), False),
    ],
)
def test_what_a_function_applies_without_a_gradient_is_no_dead_branch(
    recordings: Any, grouper: nn.Module, is_dead: bool
) -> None:
    trace = recordings.steps(_Grouping(grouper), _batch())
    dead = [branch.path for branch in trace.wiring.dead_branches]
    assert ("grouper" in dead) is is_dead


def test_the_way_to_apply_a_function_is_put_back() -> None:
    below = torch.autograd.function._SingleLevelFunction
    with Attribution(nn.Module()), Attribution(nn.Module()):
        assert "apply" in vars(below)
    assert "apply" not in vars(below)
