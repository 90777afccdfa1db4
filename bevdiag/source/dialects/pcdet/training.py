"""What a repository's training script does around its model: the loss's function, the optimizer."""

import importlib
import inspect
import re
from collections.abc import Mapping
from inspect import unwrap
from types import MethodType, ModuleType
from typing import Any

import torch
from torch import nn

from bevdiag.source.failures import Remedy, as_failure, place_of, stopped
from bevdiag.source.state import note
from bevdiag.trace.wiring_batch import WatchedBatch

_OPTIMIZERS = "train_utils.optimization"
"""Where OpenPCDet's tools build theirs, and all that were made from it."""
_MISMATCH = re.compile(
    r"shapes cannot be multiplied|same reduction dim|expected input\b.* to have \d+ channels|"
    r"must match the size of tensor|size mismatch|normalized_shape|running_mean should contain|"
    r"but got input .*channels"
)
"""What layers say of an input that does not suit them."""


def step_function(models: ModuleType) -> Any:
    """Find what the training loop calls with the model and a batch; None where that is the model.

    Args:
        models: the repository's package of models.
    """
    decorator = getattr(models, "model_fn_decorator", None)
    if decorator is None:
        return None
    # The trace has loaded the batch already, and noted what that takes.
    models.load_data_to_gpu = lambda batch: None  # type: ignore[attr-defined]
    function = decorator()
    required = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return function if len(required) == 2 else None


def returned_by(function: Any, *arguments: Any, batch: WatchedBatch) -> Any:
    """Call the function; a layer that is fed other channels than its own says who feeds it."""
    try:
        return function(*arguments)
    except RuntimeError as error:
        mismatch = _MISMATCH.search(str(error)) and batch.watch is not None
        fed = batch.watch.last_features() if mismatch and batch.watch is not None else ""
        error.args = (f"{error}; {fed}" if fed else str(error),)
        raise


def loss_in(returned: Any, function: Any) -> torch.Tensor:
    """Return the loss, which is a dict's 'loss' or stands first in a tuple of any length.

    Args:
        returned: what the function returned.
        function: the forward pass of a model, or the user's own.

    Raises:
        NoVerdictError: there is none.
    """
    loss = _loss_in(returned)
    if loss is None:
        raise stopped(
            f"the model returns no loss, but {type(returned).__name__}",
            Remedy.LOSS,
            place_of(function),
        )
    return loss.mean()


def _loss_in(returned: Any) -> torch.Tensor | None:
    if isinstance(returned, torch.Tensor):
        return returned
    if isinstance(returned, Mapping):
        return _loss_in(returned.get("loss"))
    if isinstance(returned, (tuple, list)):
        return next((loss for part in returned if (loss := _loss_in(part)) is not None), None)
    return None


def own_optimizer(model: nn.Module, config: Any) -> Any:
    """Build what the repository's `build_optimizer` makes of OPTIMIZATION, as it acts on a GPU.

    None where there is none, which is noted.
    """
    try:
        made = importlib.import_module(_OPTIMIZERS).build_optimizer(model, config)
        for inner in _torch_optimizers(made):
            as_on_a_gpu(inner)
    except Exception as error:
        note(
            "the optimizer is the one of PyTorch that the config's name comes nearest to, as the "
            f"repository's own could not be built: {as_failure(error)}"
        )
        return None
    return made


def _torch_optimizers(made: Any) -> list[torch.optim.Optimizer]:
    """Return the optimizer itself, or those that it wraps."""
    if isinstance(made, torch.optim.Optimizer):
        return [made]
    return [held for held in vars(made).values() if isinstance(held, torch.optim.Optimizer)]


def as_on_a_gpu(optimizer: torch.optim.Optimizer) -> None:
    """Make it run the foreach kernels that CUDA takes by default, and no wrapper of `step`.

    The wrappers import torch._dynamo, which takes as long as importing torch.
    """
    for group in optimizer.param_groups:
        if "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True
    plain = torch.no_grad()(unwrap(type(optimizer).step))
    optimizer.step = MethodType(plain, optimizer)  # type: ignore[method-assign]
