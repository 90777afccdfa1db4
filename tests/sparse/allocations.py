"""Watches what is allocated, in order, and what is still alive."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bevdiag.memory.events import Category, current_category


class Allocations(TorchDispatchMode):
    """Records (bytes, category) of every new storage; `alive` and `peak` are in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[int, Category | None]] = []
        self.alive = 0
        self.peak = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def ignore(self, *tensors: torch.Tensor) -> "Allocations":
        for tensor in tensors:
            self._watch(tensor.untyped_storage(), 0)
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._seen and storage.nbytes():
                    self.made.append((storage.nbytes(), current_category()))
                    self._watch(storage, storage.nbytes())
        return result

    def _watch(self, storage: torch.UntypedStorage, nbytes: int) -> None:
        key = storage._cdata
        self.alive += nbytes
        self.peak = max(self.peak, self.alive)

        def forget(_: Any) -> None:
            del self._seen[key]
            self.alive -= nbytes

        self._seen[key] = weakref.ref(storage, forget)

    def of(self, *categories: Category) -> list[int]:
        return [nbytes for nbytes, category in self.made if category in categories]
