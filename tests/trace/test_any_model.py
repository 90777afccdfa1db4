"""Models that bevdiag did not build, as their makers hand them over."""

import math
import random
import threading
from collections import OrderedDict, UserDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.memory.events import Alloc, Category
from bevdiag.scenes.scenario import Scenario
from bevdiag.sparse import stub
from bevdiag.trace.alternatives import TracedStep
from bevdiag.trace.any_model import Loss, trace_model
from bevdiag.trace.rehearsal import can_rehearse
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


rehearsing = pytest.mark.skipif(not can_rehearse(), reason="needs fork")


def trace(model: nn.Module, inputs: Any = X, loss: Loss | None = None) -> Trace:
    return _traced(model, inputs, loss).expected


def _traced(
    model: nn.Module, inputs: Any = X, loss: Loss | None = None, *, rehearses: bool = True
) -> TracedStep:
    options = StepOptions(optimization=OptimizationSettings(), optimizer="adamw")
    return trace_model(model, inputs, loss, options, rehearses=rehearses)


def sizes(traced: Trace, category: Category) -> list[int]:
    return [event.nbytes for event in traced.stream.allocs() if event.category is category]


class _Kept(nn.Module):
    """Two layers: the second is given what a function makes of the first one's output."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.first(x)
        kept: torch.Tensor = self.second(self.function(features))
        return kept.sum()


def _rows_kept(traced: TracedStep) -> dict[Scenario, int]:
    rows = {}
    for scenario, step in traced.traces.items():
        (second,) = (layer for layer in step.layers if layer.name == "second")
        assert second.output_shape is not None
        rows[scenario] = second.output_shape[0]
    return rows


def _written_mask(features: torch.Tensor) -> torch.Tensor:
    mask = features[:, 0] > -1e9
    _ = mask.nonzero()
    mask &= features[:, 1] > 1e9
    return features[mask]


@rehearsing
@pytest.mark.parametrize(
    ("function", "rows"),
    [
        (lambda features: features[~(features[:, 0] > 1e9)], 40),
        (lambda features: features[~(features[:, 0] > -1e9)], 0),
        (_written_mask, 0),
    ],
)
def test_a_negated_or_written_mask_keeps_the_rows_of_the_real_run(function: Any, rows: int) -> None:
    found = _rows_kept(_traced(_Kept(function), torch.ones(40, 3)))
    assert found == {Scenario.LOW: 1, Scenario.EXPECTED: rows, Scenario.HIGH: 40}


def _drawn(features: torch.Tensor) -> torch.Tensor:
    kept = torch.rand(1000) < 0.5
    return features[: int(kept.sum()) + int(np.random.randint(1000)) + random.randrange(1000)]


def test_what_a_step_draws_is_the_same_in_each_trace_and_leaves_the_caller_s_alone() -> None:
    model, inputs = _Kept(_drawn), torch.ones(3000, 3)
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate()
    first = _rows_kept(_traced(model, inputs))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    for generator in (torch, np.random, random):
        generator.seed()
    assert _rows_kept(_traced(model, inputs)) == first


@rehearsing
def test_a_size_that_nothing_bounds_leaves_no_upper_end_without_other_weights() -> None:
    def repeated(features: torch.Tensor) -> torch.Tensor:
        return features.repeat_interleave(features[:, 0].abs().long() + 2, dim=0)

    traced = _traced(_Kept(repeated), torch.ones(40, 3))
    (open_size,) = traced.expected.stream.unmodelled
    assert "nothing bounds that of later ones" in open_size


@rehearsing
def test_a_number_that_is_read_for_a_size_is_reported() -> None:
    def cut(features: torch.Tensor) -> torch.Tensor:
        return features[: round(features.detach().abs().mean().item() * 0 + 6)]

    traced = _traced(_Kept(cut), torch.ones(40, 3))
    assert _rows_kept(traced)[Scenario.EXPECTED] == 6
    (read,) = traced.assumptions
    assert (read.low, read.high) == (6, 6)
    assert "later steps are taken to have the same" in read.why


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
    reported = trace(_Returns(returned), loss=lambda _: _plain_loss(_))
    assert _backward_ops(taken) == _backward_ops(reported)


def _plain_loss(output: Any) -> torch.Tensor:
    first = output[0] if isinstance(output, tuple) else output
    loss: torch.Tensor = first["loss"] if isinstance(first, dict) else first
    return loss


def _backward_ops(traced: Trace) -> list[str]:
    return [e.op for e in traced.stream.allocs() if e.phase == "backward"]


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
    assert any(event.shape == (2, 5) for event in traced.stream.allocs())


def _wide(out: torch.Tensor) -> torch.Tensor:
    return torch.cat([out] * 64).relu()


def _largest(traced: Trace) -> int:
    return max(
        event.nbytes for event in traced.stream.allocs() if event.category is not Category.WORKSPACE
    )


_WAYS: dict[str, Callable[[torch.Tensor], bool]] = {
    "bool": lambda out: bool(out.max() > 3),
    "item": lambda out: out.max().item() > 3,
    "list": lambda out: max(out.max(dim=1).values.tolist()) > 3,
    "array": lambda out: bool((out.detach().cpu().numpy() > 3).any()),
    "float": lambda out: float(out.max()) > 3,
    "rows": lambda out: len((out > 3).nonzero()) > 0,
    "ceil": lambda out: math.ceil(out.max().item()) > 3,
    "sqrt": lambda out: math.sqrt(out.max().item()) > 3**0.5,
    "equal": lambda out: not torch.equal(out.clamp(max=3), out),
    "numpy": lambda out: bool(np.sqrt(out.max().item()) > 3**0.5),
}


@rehearsing
@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("way", _WAYS)
def test_a_branch_goes_the_way_that_the_weights_and_inputs_decide(way: str, holds: bool) -> None:
    asks = _WAYS[way]
    model = _Returns(lambda out: _wide(out) if asks(out) else out.relu())
    nn.init.constant_(model.linear.weight, 1.0)
    nn.init.constant_(model.linear.bias, 0.5 if holds else -0.5)
    plain = trace(_Returns(_wide if holds else torch.relu))
    traced = _traced(model, X)
    assert _largest(traced.expected) == _largest(plain)
    for branch in traced.assumptions:
        # Reports print a number, not a truth value.
        assert [type(end) for end in (branch.low, branch.high, branch.used)] == [int] * 3


@rehearsing
def test_a_count_is_that_of_the_weights_and_a_range_later_on() -> None:
    model = _Returns(lambda out: _wide(out[out[:, 0] > 0]))
    nn.init.constant_(model.linear.weight, 1.0)
    nn.init.zeros_(model.linear.bias)
    inputs = torch.tensor([[1.0] * 3, [1.0] * 3, [-1.0] * 3, [-1.0] * 3])
    traced = _traced(model, inputs)
    (assumption,) = traced.assumptions
    assert (assumption.low, assumption.expected, assumption.high) == (1, 2, 4)
    assert "initial weights" in assumption.why
    rows = {
        name: max(e.nbytes for e in _events_of(one, step=2, op="cat")) // (64 * 5 * 4)
        for name, one in traced.traces.items()
    }
    assert rows == {Scenario.LOW: 1, Scenario.EXPECTED: 2, Scenario.HIGH: 4}
    first = max(e.nbytes for e in _events_of(traced.traces[Scenario.HIGH], step=1, op="cat"))
    assert first == 2 * 64 * 5 * 4


@rehearsing
@pytest.mark.parametrize(
    "count",
    [
        lambda x: x[x[:, 0] > 0],
        lambda x: x[: int((x[:, 0] > 0).sum())],
        lambda x: x.clone()[(x[:, 0].abs() == x[:, 0]).nonzero()[:, 0]],
    ],
)
def test_a_count_of_the_inputs_alone_holds_for_every_step(count: Any) -> None:
    model = nn.Sequential(_Counting(count), nn.Linear(3, 5))
    inputs = torch.tensor([[1.0] * 3, [1.0] * 3, [-1.0] * 3, [-1.0] * 3])
    (assumption,) = _traced(model, inputs).assumptions
    assert (assumption.low, assumption.expected, assumption.high) == (2, 2, 2)
    assert "inputs alone" in assumption.why


class _Counting(nn.Module):
    def __init__(self, count: Any) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: torch.Tensor) -> Any:
        return self.count(x)


def _events_of(traced: Trace, step: int, op: str) -> list[Alloc]:
    return [
        event for event in traced.stream.allocs() if event.step == step and f".{op}." in event.op
    ]


def test_a_branch_that_nobody_computes_is_traced_both_ways() -> None:
    model = _Returns(lambda out: _wide(out) if out.max() > 3 else out.relu())
    many = torch.ones(4096, 3)
    traced = _traced(model, many, rehearses=False)
    sizes = sorted(_largest(one) for one in traced.traces.values())
    assert sizes[0] < sizes[-1] == _largest(trace(_Returns(_wide), many))
    (assumption,) = traced.assumptions
    assert assumption.site.startswith("tests/trace/test_any_model.py:")
    assert "nothing is rehearsed" in assumption.why
    assert not traced.expected.stream.unmodelled


@pytest.mark.parametrize(
    "asks",
    [
        lambda out: out.new_zeros(int(out.sum())) + out.sum(),
        lambda out: out[: math.ceil(out.abs().sum().item())],
        lambda out: out if out.tolist()[0][0] > 3 else out.relu(),
    ],
)
def test_an_unbounded_answer_that_nobody_computes_leaves_no_verdict(asks: Any) -> None:
    assert _traced(_Returns(asks), rehearses=False).expected.stream.unmodelled


@rehearsing
@pytest.mark.parametrize("device", ["meta"])
def test_a_model_without_values_is_not_rehearsed_and_says_so(device: str) -> None:
    model = _Returns(lambda out: out if out.max() > 3 else out.relu()).to(device)
    (assumption,) = _traced(model).assumptions
    assert f"are on {device}, and only the CPU" in assumption.why


@rehearsing
def test_a_rehearsal_prints_nothing_and_leaves_the_model_as_it_is(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def asks(out: torch.Tensor) -> torch.Tensor:
        print("forward", out.device.type)
        return out if out.max() > 3 else out.relu()

    model = nn.Sequential(nn.BatchNorm1d(3), _Returns(asks)).eval()
    trace(model)
    assert set(capfd.readouterr().out.split()) == {"forward", "meta"}
    assert not model.training
    assert torch.equal(model.get_buffer("0.running_mean"), torch.zeros(3))


class _ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        return {"loss": self.embed(input_ids).sum()}


@pytest.mark.parametrize("kind", [dict, UserDict])
def test_a_dict_of_the_forward_s_arguments_is_given_by_name(kind: Any) -> None:
    ids = torch.zeros(2, 3, dtype=torch.int64)
    assert sizes(trace(_ByName(), kind(input_ids=ids, labels=ids)), Category.INPUT)
    with pytest.raises(TypeError, match="embedding"):
        trace(_ByName(), {"ids": ids})


class _Raises:
    def __deepcopy__(self, memo: object) -> object:
        raise LookupError("ask me not")

    @property
    def __class__(self) -> Any:
        raise LookupError("nor what I am")

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        pass


def test_what_raises_or_is_sparse_is_one_sentence() -> None:
    model = _Returns()
    model.__dict__["odd"] = _Raises()
    with pytest.raises(InputError, match="cannot be copied: LookupError: ask me not"):
        trace(model)
    with pytest.raises(NoVerdictError, match="sparse=False"):
        trace(nn.Sequential(nn.Embedding(3, 2, sparse=True)), torch.zeros(2, dtype=torch.int64))
    graph = _Returns()
    graph.register_buffer("graph", torch.eye(3).to_sparse())
    with pytest.raises(NoVerdictError, match="graph is a sparse tensor"):
        trace(graph)


def test_gradients_of_inputs_are_counted_once_a_step() -> None:
    plain, asked = (trace(_Returns(), X.clone().requires_grad_(wants)) for wants in (False, True))
    of_weights = sizes(asked, Category.GRADIENT).count(5 * 3 * 4)
    of_inputs = sizes(asked, Category.TEMPORARY).count(X.nbytes)
    assert of_inputs == of_weights > 1
    assert sizes(plain, Category.TEMPORARY).count(X.nbytes) == 0


class _Penalizes(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x).square().sum()
        (gradient,) = torch.autograd.grad(out, x, create_graph=True)
        return out + gradient.square().sum()


def test_a_model_may_ask_for_the_gradient_of_its_inputs() -> None:
    traced = trace(_Penalizes(3, 5), X.clone().requires_grad_())
    assert traced.params_without_grad == {}


def test_hooks_of_parameters_are_run_as_they_would_be() -> None:
    model, kept = _Returns(), []
    model.linear.weight.register_hook(lambda gradient: kept.append(gradient.clone()))
    trace(model)
    assert [gradient.shape for gradient in kept] == [(5, 3)] * 2
    model.linear.bias.register_post_accumulate_grad_hook(lambda _: None)
    with pytest.raises(NoVerdictError, match=r"linear\.bias has a hook that runs once its"):
        trace(model)


def test_a_batch_norm_that_insists_on_cuda_is_that_of_one_gpu() -> None:
    plain, synced = (
        trace(nn.Sequential(nn.Linear(3, 5), norm(5)))
        for norm in (nn.BatchNorm1d, nn.SyncBatchNorm)
    )
    assert [e.nbytes for e in synced.stream.allocs()] == [e.nbytes for e in plain.stream.allocs()]


def test_compiled_code_is_refused_before_it_compiles_what_records_it() -> None:
    inner = _Returns(torch.compile(torch.sin, backend="eager"))
    for model in (inner, torch.compile(_Returns(), backend="eager")):
        with pytest.raises(NoVerdictError, match=r"torch\.compile made.*TORCHDYNAMO_DISABLE=1"):
            trace(model)
    in_place = _Returns()
    in_place.compile(backend="eager")
    with pytest.raises(InputError, match="the model is compiled: give the model before"):
        trace(in_place)


def test_an_operation_that_knows_no_meta_tensors_is_one_sentence() -> None:
    model = _Returns(lambda out: out + torch.binomial(out.detach(), out.detach()))
    with pytest.raises(NoVerdictError, match="the training step cannot run: aten::binomial"):
        trace(model)


class _Hides(_Returns):
    def __init__(self) -> None:
        super().__init__()
        self.teachers = [nn.Linear(3, 3)]


@pytest.mark.parametrize(
    ("model", "inputs", "loss", "said"),
    [
        (nn.ReLU(), X, None, "no parameter that is trained"),
        (nn.LazyLinear(2), X, None, "lazy parameters"),
        (_Returns(lambda out: out.detach()), X, None, "nothing that has a gradient"),
        (_Returns(lambda out: "text"), X, None, "nothing that has a gradient"),
        (_Returns(), X, lambda out: out, "must return one number with a gradient"),
        (_Returns(), X, lambda out: 3.0, "must return one number with a gradient"),
        (torch.jit.script(nn.Linear(3, 5)), X, None, "the model is scripted.*it was made from"),
        (nn.Sequential(nn.DataParallel(_Returns())), X, None, "^0 wraps a model for several GPUs"),
        (_Returns(lambda out: out.cuda()), X, None, r"test_any_model.py:\d+: CUDA is asked for by"),
        (_Hides(), X, None, "^teachers holds a Linear that is no part of the model"),
        (_Returns(), iter([X]), None, "the inputs hold a list_iterator: give the batch"),
        (_Returns(), (SimpleNamespace(x=X),), None, "a SimpleNamespace with tensors inside"),
        (_Returns(), (UserDict(x=X),), None, "the inputs hold a UserDict with tensors inside"),
        (
            _Returns(),
            stub.SparseConvTensor(X, torch.zeros(4, 4, dtype=torch.int32), [2, 2, 2], 1),
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
        trace_model(
            nn.Linear(3, 50000), X, lambda out: out.mean(), options, keeps_output=keeps
        ).expected
        for keeps in (True, False)
    )

    def end_of_output(traced: Trace) -> tuple[int, str]:
        stream = traced.stream
        output = next(e for e in stream.allocs() if e.shape == (4, 50000))
        last = stream.sections(int(stream.freed[output.block]))[-1]
        return last.step, last.phase.value

    assert end_of_output(kept) == (2, "forward")
    assert end_of_output(dropped) == (1, "forward")


def test_a_step_without_products_has_no_cublas_workspace_and_one_batch() -> None:
    traced = trace(nn.Sequential(nn.LayerNorm(3)), X, lambda out: out.sum())
    assert sizes(traced, Category.INPUT) == [X.nbytes]
    assert not [e for e in traced.stream.allocs() if e.request is not None]
