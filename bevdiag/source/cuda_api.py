"""torch.cuda as the repository finds it: one GPU that is always ready.

These are patches of a process that does nothing else; they are never undone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import nn

from bevdiag.source.cuda_runtime import FEATURES, VALUES, is_cuda, replace_runtime
from bevdiag.source.state import current
from bevdiag.trace.places import user_place

_TYPES = {
    "FloatTensor": torch.float32,
    "DoubleTensor": torch.float64,
    "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16,
    "ByteTensor": torch.uint8,
    "CharTensor": torch.int8,
    "ShortTensor": torch.int16,
    "IntTensor": torch.int32,
    "LongTensor": torch.int64,
    "BoolTensor": torch.bool,
}


class CudaTensorType:
    """torch.cuda.FloatTensor and its like: called with sizes or with data."""

    is_cuda = True

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __call__(self, *args: Any) -> torch.Tensor:
        """Return an uninitialized tensor of the sizes, or a copy of the data."""
        sizes = args[0] if len(args) == 1 and isinstance(args[0], torch.Size) else args
        if all(isinstance(size, (int, np.integer)) for size in sizes):
            shape = tuple(map(int, sizes))
            if self.dtype.is_floating_point:
                return torch.empty(shape, dtype=self.dtype, device=FEATURES)
            return torch.zeros(shape, dtype=self.dtype, device=VALUES)
        return torch.tensor(args[0], dtype=self.dtype, device=VALUES)

    def __instancecheck__(self, instance: object) -> bool:
        return (
            isinstance(instance, torch.Tensor)
            and instance.dtype is self.dtype
            and current().gpu.recorder.is_device(instance)
        )


def pretend() -> None:
    """Make torch.cuda answer as if a GPU were there, and undo what time has done to old code."""
    replace_runtime()
    for name, dtype in _TYPES.items():
        setattr(torch.cuda, name, CudaTensorType(dtype))
    _replace(torch.Tensor, pin_memory=lambda self, *_: self, is_pinned=lambda *_: False)
    _replace(torch.Tensor, record_stream=lambda *_: None)
    _replace(torch, set_default_tensor_type=_set_default_type)
    _cast_what_counts_as_cuda()
    _keep_modules_where_they_are()
    restore_old_names()
    _skip_initialization()
    accept_integer_masks(_note_integer_mask)
    run_as_python()


def _replace(owner: Any, **members: Any) -> None:
    for name, member in members.items():
        setattr(owner, name, member)


def _set_default_type(kind: Any) -> None:
    """torch.set_default_tensor_type, for the type or its name: a dtype and perhaps the GPU."""
    name = kind if isinstance(kind, str) else ""
    on_gpu = name.startswith("torch.cuda.") or isinstance(kind, CudaTensorType)
    dtype = getattr(kind, "dtype", None) or _TYPES[name.rpartition(".")[2]]
    torch.set_default_dtype(dtype)
    torch.set_default_device(VALUES if on_gpu else None)


def _cast_what_counts_as_cuda() -> None:
    """`custom_fwd(cast_inputs=...)` looks at each tensor's device, and would find none of CUDA."""

    def cast(value: Any, *where: Any) -> Any:
        if isinstance(value, torch.Tensor):
            counts = current().gpu.recorder.is_device(value)
            narrow = value.is_floating_point() and value.dtype is not torch.float64
            return value.to(where[-1]) if counts and narrow else value
        if isinstance(value, (str, bytes, np.ndarray)):
            return value
        if isinstance(value, dict):
            return {cast(k, *where): cast(v, *where) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(cast(item, *where) for item in value)
        return value

    _replace(torch.amp.autocast_mode, _cast=cast)


def run_as_python() -> None:
    """Nothing is compiled: compiled code would run unseen, and cannot take the stubs."""

    def as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
        return function if function is not None else as_it_is

    _replace(torch.jit, script=as_it_is)
    _replace(torch, compile=as_it_is)


def _keep_modules_where_they_are() -> None:
    # The whole model moves when its construction is over, as it does in a training script.
    plain_to: Any = nn.Module.to

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        args = tuple(a for a in args if not isinstance(a, (torch.device, str)) and not is_cuda(a))
        kwargs = {k: v for k, v in kwargs.items() if k != "device"}
        moved: nn.Module = plain_to(module, *args, **kwargs) if args or kwargs else module
        return moved

    _replace(nn.Module, cuda=lambda self, *_: self, to=to)


def restore_old_names() -> None:
    """Restore the names that NumPy has dropped: np.int and its like."""
    old = (("int", int), ("float", float), ("bool", bool), ("object", object), ("str", str))
    for name, meaning in (*old, ("long", int)):
        if name not in np.__dict__:
            setattr(np, name, meaning)


_is_drawing: list[bool] = []


@contextmanager
def initial_weights() -> Iterator[None]:
    """Inside, `torch.nn.init` draws the weights that a run begins with."""
    _is_drawing.append(True)
    try:
        yield
    finally:
        _is_drawing.pop()


def _skip_initialization() -> None:
    """Weights that lose their values are not drawn: that takes longer than anything else."""
    for name, function in list(vars(nn.init).items()):
        public = name.endswith("_") and not name.startswith("_")
        if public and callable(function):
            setattr(nn.init, name, _skippable(function))


def _skippable(draw: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(draw)
    def skippable(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return draw(tensor, *args, **kwargs) if _is_drawing else tensor

    return skippable


def accept_integer_masks(note: Callable[[], None]) -> None:
    """Take 0/1 integers as bool where old code hands them to attention: torch >= 2.0 refuses them.

    `note` is called each time.
    """
    plain = nn.functional._canonical_mask

    def canonical(mask: torch.Tensor | None, *args: Any, **kwargs: Any) -> torch.Tensor | None:
        if mask is not None and mask.dtype not in (torch.bool, *_FLOATS):
            note()
            mask = mask.bool()
        return plain(mask, *args, **kwargs)

    nn.functional._canonical_mask = canonical


def _note_integer_mask() -> None:
    current().gpu.recorder.notes.append(
        f"{user_place()}: an integer mask was handed to attention and taken as bool"
    )


_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
