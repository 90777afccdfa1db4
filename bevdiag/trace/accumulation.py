"""Operations that autograd runs in place in an unwatched process, out of place in a watched one.

While a dispatch mode is on, the engine takes every tensor for a subclass, whose in-place operations
it must not rely on.

PyTorch adds into a buffer in place only if nothing else refers to the tensor or its storage. Seen
from inside a dispatch mode the counts are higher by what the call itself holds; that surplus
differs between PyTorch versions, so it is measured once on a graph whose answer is known.

Sources: torch/csrc/autograd/{input_buffer,FunctionsManual}.cpp.
"""

import sys
import weakref
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bevdiag.memory.events import Phase
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.sorting import index_put_buffers

aten = torch.ops.aten

# Between the engine and a rule stand only these files' frames.
_PASS_THROUGH = (
    str(Path(__file__).parent),
    str(Path(torch.__file__).parent / "_compile.py"),
    str(Path(torch.__file__).parent / "_dynamo"),
    str(Path(torch.__file__).parent / "utils" / "_python_dispatch.py"),
)


def _called_by_engine() -> bool:
    """Whether autograd's engine itself, no Python function of a node, asks for the operation."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PASS_THROUGH):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_engine_run_backward"


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
        if func is aten.add.Tensor and not torch.is_grad_enabled():
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


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill their storage's span without gaps or overlap, in any axis order."""
    expected = 1
    for size, stride in sorted(zip(tensor.shape, tensor.stride(), strict=True), key=lambda a: a[1]):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def accumulate(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Run a sum; the engine's own at a fan-out goes into the buffer that it alone owns."""
    buffer, addend = args[:2]
    if (
        recorder.phase is Phase.BACKWARD
        and not torch.is_grad_enabled()
        and isinstance(addend, torch.Tensor)
        and buffer.shape == addend.shape
        and buffer.dtype == addend.dtype
        and _called_by_engine()
        and _counts(buffer) == sole_owner_counts()
        and _is_dense(buffer)
    ):
        return buffer
    return recorder.run(func, args, kwargs)


def scatter_into_zeros(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Values put into a copy; backward formulas (index, gather, max) take fresh zeros for it."""
    target = args[0]
    fresh = recorder.block_of(target) == recorder.last_block
    if not (recorder.phase is Phase.BACKWARD and fresh and _called_by_engine()):
        return recorder.run(func, args, kwargs)
    if func is aten.index_put.default:
        index_put_buffers(recorder, *args[1:3])
    return target
