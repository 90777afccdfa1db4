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


def _remove(stand_in: ModuleType) -> None:
    if sys.modules.get(_NAME) is stand_in:
        del sys.modules[_NAME]
        if torch.__dict__.get("_dynamo") is stand_in:
            delattr(torch, "_dynamo")


@contextmanager
def without_compiler() -> Iterator[None]:
    """Inside, torch._dynamo is not imported unless something really needs it."""
    if _NAME in sys.modules:
        yield
        return
    stand_in = _Unneeded(_NAME)
    sys.modules[_NAME] = stand_in
    torch._dynamo = stand_in
    try:
        yield
    finally:
        _remove(stand_in)
