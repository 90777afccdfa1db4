"""Keep torch.compile's machinery out of a process that never compiles.

Many of PyTorch's Python functions, shape functions and optimizers among them, are wrapped so that
torch._dynamo leaves them alone; on their first call each wrapper imports torch._dynamo to say so.
That import takes as long as importing torch itself.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch

_NAME = "torch._dynamo"


class _Unneeded(ModuleType):
    """Answers the wrappers; hands over to the real module as soon as anything else is asked."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # A package: what imports a part of it gets the real one's, see `_Parts`.
        self.__path__ = []

    @staticmethod
    def disable(fn: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        return fn

    @staticmethod
    def graph_break(*_: Any) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _remove(self)
        return getattr(importlib.import_module(_NAME), name)


class _Parts(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `torch._dynamo.utils` and its like while the stub stands for their package.

    Libraries import them by themselves, torchvision among them.
    """

    def __init__(self, stub: ModuleType) -> None:
        self._stub = stub
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a part of the real package, which is imported with all that it imports."""
        if sys.modules.get(_NAME) is not self._stub or not name.startswith(f"{_NAME}."):
            return None
        _remove(self._stub)
        importlib.import_module(_NAME)
        importlib.import_module(name)
        return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the part that is there already; a second one would have a state of its own."""
        part = sys.modules[spec.name]
        self._specs[spec.name] = part.__spec__
        return part

    def exec_module(self, module: ModuleType) -> None:
        """Restore its own spec: it has run."""
        assert module.__spec__ is not None
        module.__spec__ = self._specs[module.__spec__.name]


def _remove(stub: ModuleType) -> None:
    if sys.modules.get(_NAME) is stub:
        del sys.modules[_NAME]
        if torch.__dict__.get("_dynamo") is stub:
            delattr(torch, "_dynamo")


@contextmanager
def without_compiler() -> Iterator[None]:
    """Inside, torch._dynamo is not imported unless something really needs it."""
    if _NAME in sys.modules:
        yield
        return
    stub = _Unneeded(_NAME)
    sys.modules[_NAME] = stub
    torch._dynamo = stub
    parts = _Parts(stub)
    sys.meta_path.insert(0, parts)
    try:
        yield
    finally:
        sys.meta_path.remove(parts)
        _remove(stub)
