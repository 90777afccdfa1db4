"""The optimizers that OpenPCDet's configs name, as they behave on a GPU.

On CUDA, PyTorch's optimizers and gradient clipping run their "foreach" kernels, which cost
temporaries of the size of the parameters; on meta tensors they would fall back to loops.
"""

from collections.abc import Iterable
from inspect import unwrap
from typing import Any
from unittest import mock

import torch
from torch import nn

from bevdiag.config.model_settings import OptimizationSettings

_NORM_LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

# adam_onecycle and adam_cosineanneal of OpenPCDet's tools/train_utils/optimization.
_LEAF_MODULE_OPTIMIZERS = ("adam_onecycle", "adam_cosineanneal")


class LeafModuleAdam(torch.optim.Adam):
    """Adam as OpenPCDet's one-cycle schedule wraps it.

    It collects the parameters of leaf modules only: what belongs to a module with children (the
    input projection of nn.MultiheadAttention, for one) gets gradients but is never updated, and
    has no optimizer state. Norm layers form a group of their own, and weight decay is applied to
    the weights directly, in place.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float) -> None:
        leaves = [module for module in model.modules() if not any(True for _ in module.children())]
        norms = _parameters(module for module in leaves if isinstance(module, _NORM_LAYERS))
        others = _parameters(module for module in leaves if not isinstance(module, _NORM_LAYERS))
        groups = [{"params": params} for params in (others, norms) if params]
        super().__init__(groups, lr=lr, betas=(0.9, 0.99), foreach=True)
        self._decay = 1 - lr * weight_decay

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.mul_(self._decay)
        return unwrap(torch.optim.Adam.step)(self, closure)


def _parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    found = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    return list(found.values())


def build_optimizer(
    model: nn.Module, settings: OptimizationSettings, name: str
) -> torch.optim.Optimizer:
    """Build the optimizer called `name` with the config's settings, running foreach kernels."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    lr, decay = settings.lr, settings.weight_decay
    if name in _LEAF_MODULE_OPTIMIZERS:
        return LeafModuleAdam(model, lr, decay)
    if name in ("adam", "adamw"):
        kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        return kind(parameters, lr=lr, weight_decay=decay, foreach=True)
    return torch.optim.SGD(
        parameters, lr=lr, weight_decay=decay, momentum=settings.momentum, foreach=True
    )


@torch.no_grad()
def update(optimizer: torch.optim.Optimizer) -> None:
    """`optimizer.step()` without its wrappers.

    They import torch._dynamo, which takes as long as importing torch, to mark graph breaks for a
    compiler that does not run here.
    """
    unwrap(type(optimizer).step)(optimizer)


def make_state(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Give an optimizer the state that its first update makes, and return the device's part."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    update(optimizer)
    for parameter in parameters:
        parameter.grad = None
    values = [value for state in optimizer.state.values() for value in state.values()]
    return [value for value in values if isinstance(value, torch.Tensor) and value.is_meta]


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> None:
    """torch.nn.utils.clip_grad_norm_ with the foreach kernels that CUDA would use."""
    # It refuses foreach=True for device types outside a list that lacks "meta".
    with mock.patch.object(nn.utils.clip_grad, "_device_has_foreach_support", return_value=True):
        nn.utils.clip_grad_norm_(parameters, max_norm, foreach=True)
