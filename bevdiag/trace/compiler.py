"""Keep torch.compile's machinery out of a process that never compiles.

Many of PyTorch's Python functions, shape functions and optimizers among them, are wrapped so that
torch._dynamo leaves them alone; on their first call each wrapper imports torch._dynamo to say so.
That import takes as long as importing torch itself.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_NAME = "torch._dynamo"


class _Unneeded(ModuleType):
    """Answers the wrappers; hands over to the real module as soon as anything else is asked."""

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
    try:
        yield
    finally:
        _remove(stub)
