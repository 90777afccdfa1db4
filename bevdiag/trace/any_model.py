"""The training step of an ordinary nn.Module that bevdiag did not build."""

import copy
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from bevdiag.errors import InputError
from bevdiag.sparse import standin
from bevdiag.trace.settling import settle
from bevdiag.trace.step import Customs, StepOptions, Trace, trace_steps
from bevdiag.trace.wiring_batch import WatchedBatch

Loss = Callable[[Any], torch.Tensor]


def trace_model(
    model: nn.Module,
    inputs: Any,
    loss: Loss | None,
    options: StepOptions,
    *,
    keeps_output: bool = True,
) -> Trace:
    """Record training steps of a copy of the model on the meta device; the model stays as it is.

    The steps are those of the usual loop, in a process that does nothing else:
    `output = model(x); loss = f(output); loss.backward(); optimizer.step(); optimizer.zero_grad()`.

    Floating-point inputs become meta tensors, all others keep their values: coordinates decide
    shapes.

    Args:
        model: called as `model(*inputs)` if the inputs are a tuple, else as `model(inputs)`.
        inputs: tensors in any nesting of tuples, lists and dicts.
        loss: of what the model returns; None takes the loss that the model returns, or else the
            sum of its outputs.
        options: how the step is run.
        keeps_output: what the model returns lives until the next step's forward pass has returned,
            as the variable above keeps it; False where the loop drops it before backward, as
            `loss = f(model(x))` does.

    Raises:
        InputError: the model or its inputs cannot be traced.
        NoVerdictError: a shape depends on feature values.
    """
    leaves, structure = tree_flatten(inputs)
    batch = {f"inputs[{index}]": _input(leaf) for index, leaf in enumerate(leaves)}

    variables: dict[str, Any] = {}

    def forward(copied: nn.Module, fresh: WatchedBatch) -> torch.Tensor:
        given = tree_unflatten([fresh[key] for key in batch], structure)
        output = copied(*given) if isinstance(given, tuple) else copied(given)
        if keeps_output:
            variables["output"] = output
        return _loss_of(output) if loss is None else _scalar(loss(output))

    customs = Customs(forward=forward, is_bare=True)
    return settle(trace_steps(_on_meta(model), batch, options, customs))


def _on_meta(model: nn.Module) -> nn.Module:
    tensors = [*model.parameters(), *model.buffers()]
    if any(map(is_lazy, tensors)):
        raise InputError("the model has lazy parameters: run it once before it is traced")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("the model has no parameter that is trained")
    _refuse_real_spconv(model)
    # deepcopy takes what stands here for the copy: the weights are never copied.
    memo: dict[int, Any] = {id(tensor): _like(tensor) for tensor in tensors}
    attributes = [value for module in model.modules() for value in vars(module).values()]
    memo |= {id(value): value for value in attributes if isinstance(value, ModuleType)}
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:  # a lock, a tensor with a history, a generator
        raise InputError(f"the model cannot be copied: {error}") from error


def _like(tensor: torch.Tensor) -> torch.Tensor:
    bare = torch.empty_like(tensor.detach(), device="meta")
    return nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare


def _refuse_real_spconv(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if any(kind.__module__.partition(".")[0] == "spconv" for kind in type(module).__mro__):
            raise InputError(
                f"{path or 'the model'} is a layer of the installed spconv, which needs a GPU: "
                "build the model with bevdiag's stand-in (pytest: gpu_budget_spconv_standin = true)"
            )


def _input(leaf: Any) -> Any:
    if isinstance(leaf, standin.SparseConvTensor):
        raise InputError(
            "the inputs hold a SparseConvTensor: give its features and indices, and let the model "
            "make the tensor, as in training"
        )
    if not isinstance(leaf, torch.Tensor):
        return leaf
    if not leaf.is_floating_point():
        return leaf.cpu()
    return torch.empty_like(leaf.detach(), device="meta")


def _loss_of(output: Any) -> torch.Tensor:
    found = _returned_loss(output)
    if found is not None:
        return found
    tensors = [tensor for leaf in tree_leaves(output) for tensor in _features(leaf)]
    followed = [tensor for tensor in tensors if tensor.requires_grad]
    if not followed:
        raise InputError(
            "the model returns nothing that has a gradient: return (model, inputs, loss) with a "
            "function that makes a loss of what the model returns"
        )
    return torch.stack([tensor.float().sum() for tensor in followed]).sum()


def _returned_loss(output: Any) -> torch.Tensor | None:
    """A scalar; what a dict calls its loss; either of them first in a tuple."""
    if isinstance(output, torch.Tensor):
        return output.reshape(()) if output.numel() == 1 and output.requires_grad else None
    if isinstance(output, Mapping):
        return _returned_loss(output["loss"]) if "loss" in output else None
    if isinstance(output, tuple | list) and output:
        return _returned_loss(output[0])
    return None


def _features(leaf: Any) -> list[torch.Tensor]:
    tensor = leaf.features if isinstance(leaf, standin.SparseConvTensor) else leaf
    return [tensor] if isinstance(tensor, torch.Tensor) else []


def _scalar(loss: Any) -> torch.Tensor:
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss.reshape(())
    raise InputError("the loss function must return one number with a gradient")
