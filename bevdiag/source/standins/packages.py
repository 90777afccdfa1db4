"""Small packages that a repository needs to run, where they are not installed."""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from bevdiag.source.standins.assignment import linear_sum_assignment
from bevdiag.source.standins.inert import InertModule


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


def _module(name: str, **members: Any) -> ModuleType:
    module = InertModule(name)
    module.__dict__.update(members)
    return module


def _numba() -> dict[str, ModuleType]:
    cuda = _module("numba.cuda", jit=_decorator)
    return {
        "numba": _module("numba", jit=_decorator, njit=_decorator, prange=range, cuda=cuda),
        "numba.cuda": cuda,
    }


def _scipy() -> dict[str, ModuleType]:
    optimize = _module("scipy.optimize", linear_sum_assignment=linear_sum_assignment)
    return {"scipy": _module("scipy", optimize=optimize), "scipy.optimize": optimize}


def _tqdm() -> dict[str, ModuleType]:
    def tqdm(iterable: Iterable[Any] = (), *_: Any, **__: Any) -> Iterable[Any]:
        return iterable

    return {"tqdm": _module("tqdm", tqdm=tqdm, trange=range)}


PACKAGES: dict[str, Callable[[], dict[str, ModuleType]]] = {
    "easydict": lambda: {"easydict": _module("easydict", EasyDict=EasyDict)},
    "numba": _numba,
    "scipy": _scipy,
    "tqdm": _tqdm,
}
"""Modules by name, made where the package is not installed."""
