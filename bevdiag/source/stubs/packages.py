"""Small packages that a repository needs to run, where they are not installed."""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch
from torch import nn

from bevdiag.source.stubs.assignment import linear_sum_assignment
from bevdiag.source.stubs.chamfer import chamfer_distance
from bevdiag.source.stubs.einops import einops_modules
from bevdiag.source.stubs.flash import flash_modules
from bevdiag.source.stubs.inert import inert_with
from bevdiag.source.stubs.scans import causal_conv1d_fn
from bevdiag.source.stubs.unknown_ops import Kernel


class EasyDict(dict[str, Any]):
    """A dict whose keys are attributes too; mappings inside become the same, also in lists."""

    def __init__(self, source: Any = None, **kwargs: Any) -> None:
        super().__init__()
        for key, value in {**(source or {}), **kwargs}.items():
            self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, _attributed(value))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    __setattr__ = __setitem__

    def __delattr__(self, name: str) -> None:
        del self[name]

    def update(self, *sources: Any, **kwargs: Any) -> None:
        for key, value in dict(*sources, **kwargs).items():
            self[key] = value

    def __reduce__(self) -> Any:
        return EasyDict, (dict(self),)

    def __deepcopy__(self, memo: Any) -> "EasyDict":
        from copy import deepcopy

        return EasyDict({key: deepcopy(value, memo) for key, value in self.items()})


def _attributed(value: Any) -> Any:
    if isinstance(value, dict) and not isinstance(value, EasyDict):
        return EasyDict(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_attributed(item) for item in value)
    return value


def _decorator(*args: Any, **_: Any) -> Any:
    """`@jit` and `@jit(...)`: the function as it is."""
    if len(args) == 1 and callable(args[0]):
        return args[0]
    return lambda function: function


def _numba() -> dict[str, ModuleType]:
    cuda = inert_with("numba.cuda", jit=_decorator)
    return {
        "numba": inert_with("numba", jit=_decorator, njit=_decorator, prange=range, cuda=cuda),
        "numba.cuda": cuda,
    }


def _scipy() -> dict[str, ModuleType]:
    optimize = inert_with("scipy.optimize", linear_sum_assignment=linear_sum_assignment)
    return {"scipy": inert_with("scipy", optimize=optimize), "scipy.optimize": optimize}


def _tqdm() -> dict[str, ModuleType]:
    def tqdm(iterable: Iterable[Any] = (), *_: Any, **__: Any) -> Iterable[Any]:
        return iterable

    return {"tqdm": inert_with("tqdm", tqdm=tqdm, trange=range)}


def _triton() -> dict[str, ModuleType]:
    language = inert_with("triton.language", constexpr=int)
    top = inert_with(
        "triton",
        jit=_kernel,
        autotune=lambda *_, **__: _kernel,
        heuristics=lambda *_, **__: _kernel,
        cdiv=lambda a, b: -(-a // b),
        next_power_of_2=lambda n: 1 << max(n - 1, 0).bit_length(),
        language=language,
    )
    return {"triton": top, "triton.language": language}


def _kernel(function: Any = None, **_: Any) -> Any:
    """Return a Triton kernel, which fills the tensors that it is given."""
    if function is None:
        return _kernel
    return function if isinstance(function, Kernel) else Kernel(function)


def _causal_conv1d() -> dict[str, ModuleType]:
    return {"causal_conv1d": inert_with("causal_conv1d", causal_conv1d_fn=causal_conv1d_fn)}


def _pytorch3d() -> dict[str, ModuleType]:
    loss = inert_with("pytorch3d.loss", chamfer_distance=chamfer_distance)
    return {"pytorch3d": inert_with("pytorch3d", loss=loss), "pytorch3d.loss": loss}


def _timm() -> dict[str, ModuleType]:
    """Return the layers that most code takes from timm."""
    layers = {
        name: inert_with(
            name,
            DropPath=DropPath,
            trunc_normal_=nn.init.trunc_normal_,
            to_2tuple=lambda value: value if isinstance(value, tuple) else (value, value),
        )
        for name in ("timm.layers", "timm.models.layers")
    }
    models = inert_with("timm.models", layers=layers["timm.models.layers"])
    top = inert_with("timm", models=models, layers=layers["timm.layers"])
    return {"timm": top, "timm.models": models, **layers}


class DropPath(nn.Module):
    """timm's stochastic depth: whole samples of a residual branch are zeroed."""

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__()
        self.drop_prob, self.scale_by_keep = drop_prob, scale_by_keep

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X, some samples of it zero in training."""
        if not self.drop_prob or not self.training:
            return x
        keep = 1 - self.drop_prob
        mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * (mask.div_(keep) if self.scale_by_keep else mask)


PACKAGES: dict[str, Callable[[], dict[str, ModuleType]]] = {
    "causal_conv1d": _causal_conv1d,
    "einops": einops_modules,
    "easydict": lambda: {"easydict": inert_with("easydict", EasyDict=EasyDict)},
    "flash_attn": flash_modules,
    "numba": _numba,
    "pytorch3d": _pytorch3d,
    "scipy": _scipy,
    "timm": _timm,
    "tqdm": _tqdm,
    "triton": _triton,
}
"""Modules by name, made where the package is not installed."""
