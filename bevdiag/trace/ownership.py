"""Whether autograd's engine is the only owner of a gradient buffer.

PyTorch adds into a buffer in place only if nothing else refers to the tensor or its storage. Seen
from inside a dispatch mode the counts are higher by what the call itself holds; that surplus
differs between PyTorch versions, so it is measured once on a graph whose answer is known.
"""

import weakref
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bevdiag.trace.compiler import without_compiler


def _counts(tensor: torch.Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    owners: int = tensor._use_count()  # type: ignore[attr-defined]
    return owners, torch._C._storage_Use_Count(storage._cdata)


class _Probe(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts where the recorder counts: storages watched, the arguments unpacked one call deep."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[int, int]] = []
        self._watched: list[weakref.ref[torch.UntypedStorage]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as the recorder does

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.add.Tensor and not torch.is_grad_enabled():
            return self._add(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self._watched.append(weakref.ref(result.untyped_storage()))
        return result

    def _add(self, func: Any, args: Any, kwargs: Any) -> Any:
        buffer, _addend = args[:2]
        self.seen.append(_counts(buffer))
        return func(*args, **kwargs)


@cache
def sole_owner_counts() -> tuple[int, int]:
    """Count the references of a buffer that only the engine owns; to be called outside any mode."""
    with without_compiler():
        source = torch.ones(2, device="meta", requires_grad=True)
        shared = source * 2
        result = (shared.exp() + shared.sin()).pow(2).sum()
        with _Probe() as probe:
            torch.autograd.backward(result)
    counts: tuple[int, int] = probe.seen[-1]
    return counts


def is_sole_owner(buffer: torch.Tensor) -> bool:
    """Whether only the engine holds this tensor; to be called from a recorder's rule."""
    return _counts(buffer) == sole_owner_counts() and _is_dense(buffer)


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill their storage's span without gaps or overlap, in any axis order."""
    expected = 1
    for size, stride in sorted(zip(tensor.shape, tensor.stride(), strict=True), key=lambda a: a[1]):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True
