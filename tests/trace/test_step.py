from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bevdiag.memory.events import Category, EventStream, Phase, PhaseSection
from bevdiag.trace.step import StepHooks, StepOptions, meta_checkpoints, trace_steps
from bevdiag.trace.unknown_values import DataDependenceError


class _Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(8, 4, device="meta")
        self.unused = nn.Linear(8, 4, device="meta")
        self.register_buffer("table", torch.empty(5, device="meta"))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        batch["kept"] = self.used(batch["x"])
        loss: Tensor = batch["kept"].exp().sum()
        return loss


def _batch() -> dict[str, Any]:
    return {"x": torch.empty(16, 8, device="meta"), "coords": torch.arange(6), "batch_size": 1}


@pytest.fixture(scope="module")
def stream(recordings: Any) -> EventStream:
    recorded: EventStream = recordings.steps(_Toy(), _batch()).stream
    return recorded


def _section(stream: EventStream, step: int, phase: Phase) -> PhaseSection:
    return next(part for part in stream.sections() if part[:2] == (step, phase))


def test_parameters_buffers_and_batch_are_there_before_the_first_step(
    recordings: Any, stream: EventStream
) -> None:
    loaded = recordings.allocs(stream, step=0)
    assert [(a.category, a.nbytes) for a in loaded] == [
        *[(Category.PARAMETER, n) for n in (128, 16, 128, 16, 20)],
        (Category.INPUT, 512),
        (Category.INPUT, 48),
        (Category.WORKSPACE, 0),  # cuBLAS's, of the main thread
    ]


def test_each_step_works_on_a_copy_of_the_batch(recordings: Any, stream: EventStream) -> None:
    for step in (1, 2):
        copies = recordings.allocs(stream, step=step, category=Category.INPUT)
        assert [(a.op, a.nbytes) for a in copies] == [
            ("aten.clone.default", 512),
            ("aten.clone.default", 48),
        ]


def test_what_the_batch_dict_alone_holds_dies_as_the_backward_pass_begins(
    recordings: Any, stream: EventStream
) -> None:
    copies = recordings.allocs(stream, step=2, category=Category.INPUT)
    begin = _section(stream, 2, Phase.BACKWARD).start
    coords = copies[1]
    assert begin < stream.freed[coords.block] < stream.made[stream.made > begin][0]


def test_gradients_are_dropped_after_the_optimizer(recordings: Any, stream: EventStream) -> None:
    gradients = recordings.allocs(stream, step=1, category=Category.GRADIENT)
    optimizer = _section(stream, 1, Phase.OPTIMIZER)
    assert len(gradients) == 2
    for gradient in gradients:
        freed = stream.freed[gradient.block]
        assert optimizer.start < freed < optimizer.stop
        assert not ((stream.made > freed) & (stream.made < optimizer.stop)).any()


@pytest.mark.parametrize("clips", [True, False])
def test_gradients_are_clipped_where_the_training_code_does(recordings: Any, clips: bool) -> None:
    options = StepOptions(
        optimization=recordings.optimization(), optimizer="sgd", num_steps=1, clips=clips
    )
    stream = trace_steps(_Toy(), _batch(), options).stream
    norms = [a for a in recordings.allocs(stream, phase=Phase.OPTIMIZER) if "norm" in a.op]
    assert bool(norms) is clips


def test_steps_after_the_first_are_alike(recordings: Any) -> None:
    stream = recordings.steps(_Toy(), _batch(), optimizer="adamw", num_steps=4).stream
    rows = [
        [(a.op, a.module, a.nbytes, a.category) for a in recordings.allocs(stream, step=step)]
        for step in (2, 3, 4)
    ]
    assert rows[0] == rows[1] == rows[2]


def test_what_gets_no_gradient_is_reported(recordings: Any) -> None:
    trace = recordings.steps(_Toy(), _batch())
    assert trace.params_without_grad == {"unused.weight": 32, "unused.bias": 4}
    assert trace.params_not_optimized == {}
    assert trace.params_by_module == {"used": 36, "unused": 36, "total": 72}


def test_departures_are_the_events_after_each_forward(recordings: Any) -> None:
    trace = recordings.steps(_Toy(), _batch())
    position = trace.departures["used"]
    before, after = map(trace.stream.alloc, trace.stream.events[position - 1 : position + 1])
    assert (before.module, before.step) == ("used", 2)
    assert after.op == "aten.exp.default"
    assert set(trace.departures) == {"used", ""}


def test_layers_have_shapes_where_they_ran(recordings: Any) -> None:
    layers = {layer.name: layer for layer in recordings.steps(_Toy(), _batch()).layers}
    assert layers["used"].output_shape == (16, 4)
    assert (layers["used"].in_channels, layers["used"].out_channels) == (8, 4)
    assert layers["unused"].output_shape is None


def test_a_count_of_features_stops_the_trace(recordings: Any) -> None:
    class Selects(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 4, device="meta")

        def forward(self, batch: dict[str, Any]) -> Tensor:
            scores = self.layer(batch["x"])
            return scores[scores > 0].sum()  # type: ignore[no-any-return]

    with pytest.raises(DataDependenceError, match="the detector"):
        recordings.steps(Selects(), _batch())


def test_a_models_own_way_of_being_called(recordings: Any) -> None:
    entered = []

    @contextmanager
    def around(recorder: Any) -> Any:
        entered.append(recorder.phase)
        yield

    def forward(model: nn.Module, batch: dict[str, Any]) -> Tensor:
        return model(batch) * 2  # type: ignore[no-any-return]

    options = StepOptions(
        optimization=recordings.optimization(), optimizer="sgd", autocast="off", num_steps=1
    )
    trace = trace_steps(_Toy(), _batch(), options, StepHooks(forward=forward, around=around))
    forward_ops = [a.op for a in recordings.allocs(trace.stream, phase=Phase.FORWARD)]
    assert forward_ops[-1] == "aten.mul.Tensor"
    assert entered == [Phase.LOAD]
    assert trace.stream.num_steps == 1


def test_the_model_is_left_in_training_mode(recordings: Any) -> None:
    model = _Toy().eval()
    recordings.steps(model, _batch())
    assert model.training


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpoint_is_recomputed_where_fork_rng_refuses_the_meta_device(
    use_reentrant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **options: Any) -> None:
        raise RuntimeError(f"torch has no module of {options['device_type']}")

    monkeypatch.setattr(torch.random, "fork_rng", refuse)
    inputs = torch.empty(3, device="meta", requires_grad=True)
    with meta_checkpoints():
        checkpoint(torch.sin, inputs, use_reentrant=use_reentrant).sum().backward()
    assert inputs.grad is not None
    assert torch.random.fork_rng is refuse


def test_other_devices_get_their_random_numbers_back() -> None:
    torch.manual_seed(0)
    with meta_checkpoints():
        with torch.random.fork_rng(devices=[], device_type="cuda"):
            first = torch.rand(3)
        assert torch.equal(torch.rand(3), first)
