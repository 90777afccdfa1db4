"""One training step, repeated: the same code for every model, recorded from an empty process on.

The order of things is that of the measured runs: model and batch on the device; then per step the
batch is copied, forward in train mode, loss, the batch dict dropped, backward, gradient clipping,
optimizer step, gradients dropped.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.memory.device import DEFAULT_GPU, DeviceTarget, make_target
from bevdiag.memory.events import Category, EventStream, allocating
from bevdiag.memory.loop import PLAIN, Loop
from bevdiag.models import scatter
from bevdiag.trace.around_step import AroundStep
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.autocast import DTYPES, Autocast
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.functions import cuda_functions
from bevdiag.trace.layer_shapes import LayerTable
from bevdiag.trace.leftovers import Leftovers, LeftoverWatch
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.optimizers import build_optimizer, clip_gradients, update
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.training_step import TrainingStep, copied
from bevdiag.trace.wiring import LayerRecord, Wiring
from bevdiag.trace.wiring_batch import BatchWatch, WatchedBatch, dead_branches

FEWEST_STEPS = 2
"""The first step has no optimizer state yet; from the second on they are alike."""

Forward = Callable[[nn.Module, WatchedBatch], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How the step is run.

    Attributes:
        autocast: off, fp16 or bf16.
        target: the device whose torch picks the kernels; None takes the measured GPU's.
        loop: what the training script does around the step.
        clips: whether gradients are clipped before the update.
        replaced: what stands for a package's operators, see `bevdiag.models.scatter`.
    """

    optimization: OptimizationSettings
    optimizer: str
    autocast: str = "off"
    num_steps: int = FEWEST_STEPS
    target: DeviceTarget | None = None
    loop: Loop = PLAIN
    clips: bool = True
    replaced: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recorded run: its events, its layers, and what the run showed about the wiring.

    Attributes:
        params_by_module: the detector's direct children, and "total".
        params_without_grad: by parameter, after the last backward pass.
        params_not_optimized: by parameter, what the optimizer was not given.
        departures: by module path, the index of the first event after its forward returned, last
            step.
        wiring: who read and wrote the batch dict in the last step, what the loss does not reach.
        notes: what had to be guessed.
        flops: of one step, None where they were not counted (see `bevdiag.trace.flops`).
        leftovers: what a single step leaves to one after it, None after several.
    """

    stream: EventStream
    layers: tuple[LayerRecord, ...]
    params_by_module: Mapping[str, int]
    params_without_grad: Mapping[str, int]
    params_not_optimized: Mapping[str, int]
    departures: Mapping[str, int]
    wiring: Wiring
    notes: tuple[str, ...]
    flops: int | None = None
    leftovers: Leftovers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepHooks:
    """What a model asks for whose steps differ, or that bevdiag did not build.

    Attributes:
        forward: calls the model with the batch dict and returns the loss.
        batch: the class of that dict.
        recorder: one that has recorded the model's construction; None begins with the model.
        optimizer: makes the model's own optimizer; what gives None takes the one of the options.
        around: a context for the steps, made for their recorder.
        begin_step: called before each step with its number.
        is_bare: the process does what the model's step asks for and nothing else: the batch is not
            copied for each step, and no cuBLAS workspace is there before the first product.
    """

    forward: Forward = lambda model, batch: model(batch)
    batch: type[WatchedBatch] = WatchedBatch
    recorder: Recorder | None = None
    optimizer: Callable[[nn.Module], torch.optim.Optimizer | None] = lambda _: None
    around: Callable[[Recorder], AbstractContextManager[object]] = lambda _: nullcontext()
    begin_step: Callable[[int], object] = lambda _: None
    is_bare: bool = False


_NO_HOOKS = StepHooks()


def trace_steps(
    model: nn.Module,
    batch: Mapping[str, Any],
    options: StepOptions,
    hooks: StepHooks = _NO_HOOKS,
) -> Trace:
    """Record `options.num_steps` training steps of a model on the meta device.

    Args:
        model: called with the batch dict in train mode; returns the loss.
        batch: device tensors (meta features, real coordinates) and plain values.
        options: how the step is run.
        hooks: where the model is called in another way.

    Raises:
        DataDependenceError: a shape depends on feature values.
    """
    model.train(not options.loop.evaluates)
    layers = LayerTable(model)
    departures: dict[str, int] = {}

    def leave(path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        layers.note(path, module, inputs, output)
        departures[path] = recorder.position
        left.departed(path)

    with without_compiler(), meta_checkpoints(), Attribution(model, leave) as attribution:
        recorder = hooks.recorder or new_recorder(attribution)
        recorder.attribution = attribution
        around = AroundStep(recorder, model, options.loop)
        _load(recorder, model, batch, around, is_bare=hooks.is_bare)
        optimizer = hooks.optimizer(model) or build_optimizer(
            model, options.optimization, options.optimizer
        )
        if options.loop.resumes:
            around.resume(optimizer)
        autocast = None
        if options.autocast != "off":
            autocast = Autocast(DTYPES[options.autocast], recorder.is_device)
        without_grad: dict[str, int] = {}
        updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
        unused = _trained(model, lambda parameter: id(parameter) not in updated)
        left = LeftoverWatch(recorder, model, unused)
        watch = BatchWatch(model, attribution)
        target = options.target or make_target(torch=torch.__version__, gpu=DEFAULT_GPU)

        def load() -> WatchedBatch:
            around.before_forward()
            with allocating(Category.INPUT):
                return hooks.batch(dict(batch) if hooks.is_bare else copied(batch))

        def forward(fresh: WatchedBatch) -> torch.Tensor:
            watch.begin(fresh)
            with autocast.region() if autocast else nullcontext():
                loss = hooks.forward(model, fresh)
            if not options.loop.evaluates:
                watch.end(fresh, loss)
            return loss

        def backward(loss: torch.Tensor) -> None:
            # Not loss.backward(): that would leave the function mode, which checkpoints need.
            torch.autograd.backward(around.scaled(loss))
            recorder.note_gradients(model.parameters())

        def change_weights() -> None:
            nonlocal without_grad
            without_grad = _trained(model, lambda parameter: parameter.grad is None)
            held = around.before_update()
            if options.clips:
                clip_gradients(model.parameters(), options.optimization.grad_norm_clip)
            update(optimizer)
            around.after_update(held)
            optimizer.zero_grad()

        training_step = TrainingStep(
            batch=load,
            loss=forward,
            backward=backward,
            update=None if options.loop.evaluates else change_weights,
            accumulate=options.loop.accumulate,
        )
        with (
            recorder,
            cuda_functions(recorder, autocast, target),
            hooks.around(recorder),
            scatter.replaced(options.replaced),
            left if options.num_steps == 1 else nullcontext(),
        ):
            for step in range(1, options.num_steps + 1):
                hooks.begin_step(step)
                attribution.begin_step()
                for phase in training_step.phases():
                    recorder.mark(step, phase)
            leftovers = left.found() if options.num_steps == 1 else None
        recorder.stop()
    wiring = watch.wiring()
    records = layers.records(wiring.channels_into)
    dead = dead_branches(wiring, watch.reach, records, without_grad, departures)
    return Trace(
        stream=recorder.stream(options.num_steps),
        layers=records,
        params_by_module=_params_by_module(model),
        params_without_grad=without_grad,
        params_not_optimized=unused,
        departures=departures,
        wiring=replace(wiring, dead_branches=dead),
        notes=tuple(dict.fromkeys(recorder.notes)),
        leftovers=leftovers,
    )


@contextmanager
def meta_checkpoints() -> Iterator[None]:
    """Inside, forking the meta device's random numbers does nothing, as in newer versions.

    A checkpoint restores the random numbers' state of its inputs' device before it recomputes. The
    meta device draws none: newer versions leave the state alone there, 2.5 raises.
    """
    fork = torch.random.fork_rng

    def fork_rng(*args: Any, **kwargs: Any) -> AbstractContextManager[None]:
        return nullcontext() if kwargs.get("device_type") == "meta" else fork(*args, **kwargs)

    with patch.object(torch.random, "fork_rng", fork_rng):
        yield


def _load(
    recorder: Recorder,
    model: nn.Module,
    batch: Mapping[str, Any],
    around: AroundStep,
    *,
    is_bare: bool,
) -> None:
    """Move the model to the device (children first, as Module._apply does), then the batch."""

    def move(module: nn.Module, path: str) -> None:
        for name, child in module.named_children():
            move(child, f"{path}.{name}" if path else name)
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                recorder.adopt(tensor, Category.PARAMETER, path, "Module.to")

    move(model, "")
    around.begin()
    for key, value in batch.items():
        if isinstance(value, torch.Tensor):
            recorder.adopt(value, Category.INPUT, "", f"batch[{key!r}]")
    if is_bare:
        return
    # A step of convolutions alone multiplies no matrices on the main thread, but a training process
    # does sooner or later (boxes rotated on the GPU, an evaluation in between), and its cuBLAS
    # workspace is never freed again. The measured processes held it before their first step.
    recorder.gemm("cuBLAS workspace of the main thread")


def _params_by_module(model: nn.Module) -> dict[str, int]:
    counts = {name: sum(p.numel() for p in m.parameters()) for name, m in model.named_children()}
    counts["total"] = sum(p.numel() for p in model.parameters())
    return counts


def _trained(model: nn.Module, lacks: Callable[[nn.Parameter], bool]) -> dict[str, int]:
    """Return the numbers of each trained parameter that lacks something, by its name."""
    return {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and lacks(parameter)
    }
