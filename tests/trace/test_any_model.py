"""Models that bevdiag did not build, as their makers hand them over."""

import threading
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.config.settings import OptimizationSettings
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.memory.events import Alloc, Category, Free, Mark
from bevdiag.sparse import standin
from bevdiag.trace.any_model import Loss, trace_model
from bevdiag.trace.step import StepOptions, Trace

X = torch.ones(4, 3)


class _Returns(nn.Module):
    """Calls a function with its output and its further inputs."""

    def __init__(self, function: Any = lambda output: output) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.register_buffer("scale", torch.ones(5))
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(self.linear(inputs[0]) * self.scale, *inputs[1:])


def trace(model: nn.Module, inputs: Any = X, loss: Loss | None = None) -> Trace:
    options = StepOptions(optimization=OptimizationSettings(), optimizer="adamw")
    return trace_model(model, inputs, loss, options)


def sizes(traced: Trace, category: Category) -> list[int]:
    return [
        event.nbytes
        for event in traced.stream.events
        if isinstance(event, Alloc) and event.category is category
    ]


def test_the_model_is_left_as_it_is() -> None:
    model = _Returns().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    traced = trace(model)
    assert {name: value.device.type for name, value in model.state_dict().items()} == dict.fromkeys(
        before, "cpu"
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert sorted(sizes(traced, Category.PARAMETER)) == [4 * 5, 4 * 5, 4 * 15]  # the buffer too


def test_tied_weights_stay_tied_and_frozen_ones_frozen() -> None:
    one = nn.Linear(3, 3, bias=False)
    frozen = nn.Linear(3, 3, bias=False).requires_grad_(False)
    traced = trace(nn.Sequential(one, one, frozen))
    assert sizes(traced, Category.PARAMETER) == [36, 36]
    assert sizes(traced, Category.OPTIMIZER_STATE) == [36, 36]


@pytest.mark.parametrize(
    "returned",
    [
        lambda out: out.mean(),
        lambda out: {"loss": out.mean(), "features": out},
        lambda out: OrderedDict(loss=out.mean()),
        lambda out: (out.mean(), out),
        lambda out: ({"loss": out.mean()}, {}, {}),
    ],
)
def test_the_loss_that_a_model_returns_is_taken(returned: Any) -> None:
    taken = trace(_Returns(returned))
    told = trace(_Returns(returned), loss=lambda _: _plain_loss(_))
    assert _backward_ops(taken) == _backward_ops(told)


def _plain_loss(output: Any) -> torch.Tensor:
    first = output[0] if isinstance(output, tuple) else output
    loss: torch.Tensor = first["loss"] if isinstance(first, dict) else first
    return loss


def _backward_ops(traced: Trace) -> list[str]:
    return [e.op for e in traced.stream.events if isinstance(e, Alloc) and e.phase == "backward"]


def test_a_model_that_holds_a_module_or_what_cannot_be_copied() -> None:
    model = _Returns()
    model.library = torch
    assert trace(model).params_by_module["total"] == 20
    model.lock = threading.Lock()
    with pytest.raises(InputError, match=r"cannot be copied: cannot pickle '_thread\.lock'"):
        trace(model)


def test_without_a_loss_all_outputs_are_summed() -> None:
    traced = trace(_Returns(lambda out: {"a": out, "b": [out * 2, 7]}))
    # Both outputs get a gradient.
    assert traced.params_without_grad == {}


def test_a_batch_dict_is_given_as_it_is() -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, batch: dict[str, Any]) -> torch.Tensor:
            batch["features"] = self.linear(batch["points"])
            return batch.pop("features").sum() / batch["batch_size"]

    inputs = {"points": X, "batch_size": 2}
    assert trace(Detector(), inputs).params_by_module["total"] == 8
    assert inputs.keys() == {"points", "batch_size"}


def test_integers_keep_their_values_which_decide_shapes() -> None:
    def chosen(out: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return out[labels.nonzero()[:, 0]]

    traced = trace(_Returns(chosen), (X, torch.tensor([0, 1, 0, 1])))
    assert any(event.shape == (2, 5) for event in traced.stream.events if isinstance(event, Alloc))


def test_shapes_that_depend_on_features_are_refused() -> None:
    with pytest.raises(NoVerdictError, match="depends on feature values"):
        trace(_Returns(lambda out: out[out > 0]))


@pytest.mark.parametrize(
    ("model", "inputs", "loss", "said"),
    [
        (nn.ReLU(), X, None, "no parameter that is trained"),
        (nn.LazyLinear(2), X, None, "lazy parameters"),
        (_Returns(lambda out: out.detach()), X, None, "nothing that has a gradient"),
        (_Returns(lambda out: "text"), X, None, "nothing that has a gradient"),
        (_Returns(), X, lambda out: out, "must return one number with a gradient"),
        (_Returns(), X, lambda out: 3.0, "must return one number with a gradient"),
        (
            _Returns(),
            standin.SparseConvTensor(X, torch.zeros(4, 4, dtype=torch.int32), [2, 2, 2], 1),
            None,
            "give its features and indices",
        ),
    ],
)
def test_what_cannot_be_traced_is_one_sentence(
    model: nn.Module, inputs: Any, loss: Loss | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        trace(model, inputs, loss)


def test_the_output_lives_until_the_next_forward_pass_has_returned() -> None:
    options = StepOptions(optimization=OptimizationSettings(), optimizer="sgd")
    kept, dropped = (
        trace_model(nn.Linear(3, 50000), X, lambda out: out.mean(), options, keeps_output=keeps)
        for keeps in (True, False)
    )

    def end_of_output(traced: Trace) -> tuple[int, str]:
        events = list(traced.stream.events)
        output = next(e for e in events if isinstance(e, Alloc) and e.shape == (4, 50000))
        marks = [e for e in events[: events.index(Free(output.block))] if isinstance(e, Mark)]
        return marks[-1].step, marks[-1].phase.value

    assert end_of_output(kept) == (2, "forward")
    assert end_of_output(dropped) == (1, "forward")


def test_a_step_without_products_has_no_cublas_workspace_and_one_batch() -> None:
    traced = trace(nn.Sequential(nn.LayerNorm(3)), X, lambda out: out.sum())
    assert sizes(traced, Category.INPUT) == [X.nbytes]
    assert not [e for e in traced.stream.events if isinstance(e, Alloc) and e.request is not None]
