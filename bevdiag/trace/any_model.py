"""The training step of an ordinary nn.Module that bevdiag did not build."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn
from unittest.mock import patch

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten
from torch.utils.data import DataLoader

from bevdiag.errors import InputError, NoVerdictError
from bevdiag.scenes import Scenario
from bevdiag.sparse.tensor import SparseConvTensor
from bevdiag.trace.alternatives import Scenarios, TracedStep
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.failure import failures_reported
from bevdiag.trace.flops import FlopCounter
from bevdiag.trace.layer_shapes import first_tensor
from bevdiag.trace.ops import new_recorder
from bevdiag.trace.places import user_place
from bevdiag.trace.real_run import prepare, run_for_real
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.rehearsal import Effort, Prompter, Rehearsal, can_rehearse
from bevdiag.trace.settling import settle
from bevdiag.trace.step import StepHooks, StepOptions, Trace, trace_steps
from bevdiag.trace.wiring_batch import WatchedBatch

Loss = Callable[[Any], torch.Tensor]

_WRAPS = "wraps a model for several GPUs or processes: give the model that is inside"
_NOT_FOLLOWED = {
    "spconv": "is a layer of the installed spconv, which needs a GPU: build the model with "
    "bevdiag's stub (pytest: gpu_budget_spconv_standin = true)",
    "torch.nn.parallel": _WRAPS,
    "torch.distributed.fsdp": _WRAPS,
    "torch.jit": "is scripted, which cannot be followed: give the module that it was made from",
}
"""By the package of a module's class or of a base of it, what keeps it from being traced."""


def trace_model(
    model: nn.Module,
    inputs: Any,
    loss: Loss | None,
    options: StepOptions,
    *,
    keeps_output: bool = True,
    rehearses: bool = True,
) -> TracedStep:
    """Record training steps of a copy of the model on the meta device; the model stays as it is.

    The steps are those of the usual loop, in a process that does nothing else:
    `output = model(x); loss = f(output); loss.backward(); optimizer.step(); optimizer.zero_grad()`.

    Floating-point inputs become meta tensors, all others keep their values: coordinates decide
    shapes. Where the step asks for values, the model is run once with its weights and these inputs,
    in a fork of this process.

    Args:
        model: called as `model(*inputs)` if the inputs are a tuple, as `model(**inputs)` if they
            are a dict of its arguments, else as `model(inputs)`.
        inputs: tensors in any nesting of tuples, lists and dicts.
        loss: of what the model returns; None takes the loss that the model returns, or else the
            sum of its outputs.
        options: how the step is run.
        keeps_output: what the model returns lives until the next step's forward pass has returned,
            as the variable above keeps it; False where the loop drops it before backward, as
            `loss = f(model(x))` does.
        rehearses: whether the model may be run.

    Raises:
        InputError: the model or its inputs cannot be traced.
        NoVerdictError: the step asks for something that is not modelled.
    """
    inputs = dict(inputs) if isinstance(inputs, Mapping) else inputs
    leaves, structure = tree_flatten(inputs)
    given = {f"inputs[{index}]": leaf for index, leaf in enumerate(leaves)}
    batch = {key: _input(leaf) for key, leaf in given.items()}
    by_name = _are_arguments(model, inputs)

    def output_of(called: nn.Module, fresh: Mapping[str, Any]) -> Any:
        for tensor in fresh.values():
            if isinstance(tensor, torch.Tensor):
                tensor.grad = None  # each step has a batch of its own
        arguments = tree_unflatten([fresh[key] for key in given], structure)
        if by_name:
            return called(**arguments)
        return called(*arguments) if isinstance(arguments, tuple) else called(arguments)

    def trace(values: AssumedValues) -> Trace:
        variables: dict[str, Any] = {}

        def forward(copied: nn.Module, fresh: WatchedBatch) -> torch.Tensor:
            output = output_of(copied, fresh)
            if keeps_output:
                variables["output"] = output
            return _loss_of(output) if loss is None else _scalar(loss(output))

        recorder, counter = _recorder(values), FlopCounter(step=1)
        values.step = lambda: recorder.step
        values.effort = lambda: Effort(counter.flops, recorder.host_bytes)
        hooks = StepHooks(forward=forward, is_bare=True, recorder=recorder, around=counter.around)
        for tensor in batch.values():
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                values.given.add(tensor)
        # An operation that knows no meta tensors; other errors are the model's own.
        with failures_reported((NotImplementedError,)), _one_gpu():
            return settle(trace_steps(_on_meta(model), batch, options, hooks))

    def rehearse(prompter: Prompter) -> None:
        values = RehearsedValues(prompter)
        real = {key: _real(leaf) for key, leaf in given.items()}
        prepare()
        model.train()
        for tensor in (*model.parameters(), *model.buffers()):
            _real(tensor)

        def call() -> None:
            output = output_of(model, real)
            if loss is not None:
                loss(output)

        with _one_gpu():
            run_for_real(model, real.values(), _recorder(values), values, call)

    _refuse(model)
    rehearsal = Rehearsal(rehearse, at_once=False) if rehearses and can_rehearse() else None
    try:
        rehearsals = {} if rehearsal is None else {Scenario.EXPECTED: rehearsal}
        return Scenarios(trace, {}, rehearsals).run([])
    finally:
        if rehearsal is not None:
            rehearsal.close()


def _are_arguments(model: nn.Module, inputs: Any) -> bool:
    """Whether the inputs are a dict of arguments that the model's forward names."""
    if not isinstance(inputs, dict) or not all(isinstance(key, str) for key in inputs):
        return False
    try:
        signature = inspect.signature(model.forward)
        signature.bind(**inputs)
    except (TypeError, ValueError):
        return False
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    # Whatever takes anything is given the dict as it is, as any other input would be.
    return inspect.Parameter.VAR_POSITIONAL not in kinds


def _recorder(values: AssumedValues | RehearsedValues) -> Recorder:
    recorder = new_recorder(Attribution(nn.Module()))
    recorder.values = values
    return recorder


def _real(leaf: Any) -> Any:
    """Return what a real run is given.

    Raises:
        InputError: it has no values, or only where the fork of a process cannot read them.
    """
    if not isinstance(leaf, torch.Tensor):
        return leaf
    if leaf.device.type != "cpu":
        raise InputError(
            f"the model or its inputs are on {leaf.device}, and only the CPU runs them for real"
        )
    return leaf.detach()


def _refuse(model: nn.Module) -> None:
    """Say what cannot be traced before anything is tried.

    Raises:
        InputError: the user has to change the model.
        NoVerdictError: it holds what is not modelled.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if any(map(is_lazy, tensors)):
        raise InputError("the model has lazy parameters: run it once before it is traced")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("the model has no parameter that is trained")
    modules = {id(module) for module in model.modules()}
    for path, module in model.named_modules():
        named, prefix = path or "the model", f"{path}." if path else ""
        for kind in type(module).__mro__:
            for package, reason in _NOT_FOLLOWED.items():
                if f"{kind.__module__}.".startswith(f"{package}."):
                    raise InputError(f"{named} {reason}")
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise InputError(f"{named} is compiled: give the model before its compile() was called")
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            raise NoVerdictError(
                f"{named}: sparse gradients of an embedding are not modelled; build it with "
                "sparse=False"
            )
        for name, value in vars(module).items():
            for held in tree_leaves(value):
                if not issubclass(type(held), nn.Module) or id(held) in modules:
                    continue
                if next(held.parameters(), None) is not None:
                    raise InputError(
                        f"{prefix}{name} holds a {type(held).__name__} that is no part of the "
                        "model, so its weights would not be counted: register it, in an "
                        "nn.ModuleList for one"
                    )
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None:
                continue
            if tensor.layout is not torch.strided:
                raise NoVerdictError(f"{prefix}{name} is a sparse tensor, which is not modelled")
            if getattr(tensor, "_post_accumulate_grad_hooks", None):
                raise NoVerdictError(
                    f"{prefix}{name} has a hook that runs once its gradient is there, as an "
                    "optimizer inside the backward pass does, which is not modelled"
                )


def _on_meta(model: nn.Module) -> nn.Module:
    tensors = [*model.parameters(), *model.buffers()]
    # deepcopy takes what stands here for the copy: the weights are never copied.
    memo: dict[int, Any] = {id(tensor): _like(tensor) for tensor in tensors}
    attributes = [value for module in model.modules() for value in vars(module).values()]
    memo |= {id(value): value for value in attributes if issubclass(type(value), ModuleType)}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # a lock, a tensor with a history, what raises when it is asked
        kind = "" if isinstance(error, RuntimeError | TypeError) else f"{type(error).__name__}: "
        raise InputError(f"the model cannot be copied: {kind}{error}") from error


def _like(tensor: torch.Tensor) -> torch.Tensor:
    bare = torch.empty_like(tensor.detach(), device="meta")
    if not isinstance(tensor, nn.Parameter):
        return bare
    copied = nn.Parameter(bare, tensor.requires_grad)
    for hook in (tensor._backward_hooks or {}).values():
        copied.register_hook(hook)  # type: ignore[no-untyped-call]
    return copied


def _no_cuda() -> NoReturn:
    raise InputError(
        f"{user_place()}: CUDA is asked for by name, and a step on shapes alone has none: take the "
        "device of a tensor that is there, as in x.to(weight.device)"
    )


@contextmanager
def _one_gpu() -> Iterator[None]:
    """Refuse what asks for CUDA by name, and let what insists on it run where it need not."""
    # PyTorch calls this function before whatever is the first to need CUDA.
    no_cuda = patch.object(torch.cuda, "_lazy_init", _no_cuda)
    # What it does in a process of its own, without looking at its input's device.
    alone = patch.object(nn.SyncBatchNorm, "forward", nn.BatchNorm2d.forward)
    with no_cuda, alone:
        yield


def _input(leaf: Any) -> Any:
    """Return what the trace gets for one of the inputs.

    Raises:
        InputError: its tensors cannot be seen.
        NoVerdictError: it is a tensor of a kind that is not modelled.
    """
    if isinstance(leaf, SparseConvTensor):
        raise InputError(
            "the inputs hold a SparseConvTensor: give its features and indices, and let the model "
            "make the tensor, as in training"
        )
    if isinstance(leaf, torch.Tensor):
        if leaf.layout is not torch.strided or leaf.is_nested:
            raise NoVerdictError("the inputs hold a sparse or nested tensor, which is not modelled")
        if not leaf.is_floating_point():
            return leaf.cpu()
        bare = torch.empty_like(leaf.detach(), device="meta")
        return bare.requires_grad_(leaf.requires_grad)
    kind = type(leaf).__name__
    if isinstance(leaf, Iterator | DataLoader):
        raise InputError(f"the inputs hold a {kind}: give the batch that it gives, as next() does")
    within = list(leaf) if isinstance(leaf, list | tuple | set) else getattr(leaf, "__dict__", ())
    within = dict(leaf) if isinstance(leaf, Mapping) else within
    if any(isinstance(held, torch.Tensor) for held in tree_leaves(within)):
        raise InputError(
            f"the inputs hold a {kind} with tensors inside, which would not be counted: give "
            "tensors in tuples, lists and dicts"
        )
    return leaf


def _loss_of(output: Any) -> torch.Tensor:
    found = _returned_loss(output)
    if found is not None:
        return found
    tensors = map(first_tensor, tree_leaves(output))
    followed = [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]
    if not followed:
        raise InputError(
            "the model returns nothing that has a gradient: give a loss too, a function that makes "
            "one number of what the model returns"
        )
    return torch.stack([tensor.float().sum() for tensor in followed]).sum()


def _returned_loss(output: Any) -> torch.Tensor | None:
    """Return a scalar; what a dict calls its loss; either of them first in a tuple."""
    if isinstance(output, torch.Tensor):
        return output.reshape(()) if output.numel() == 1 and output.requires_grad else None
    if isinstance(output, Mapping):
        return _returned_loss(output["loss"]) if "loss" in output else None
    if isinstance(output, tuple | list) and output:
        return _returned_loss(output[0])
    return None


def _scalar(loss: Any) -> torch.Tensor:
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss.reshape(())
    raise InputError("the loss function must return one number with a gradient")
