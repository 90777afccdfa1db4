"""A GPU for code that insists on one: tensors that say they are on `cuda:0` but are not.

What code puts on the GPU goes one of two ways. Features become meta tensors. Integers, masks and
what is made from constants keep their values in CPU tensors that count as device memory, because
they decide shapes. The code sees one device: both answer `cuda:0` when asked, and everything that
takes a device takes it back. Only what the repository itself asks is answered so; PyTorch's and
bevdiag's own Python code learns the truth.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from bevdiag.source.indexing import mixed_get, mixed_set
from bevdiag.source.values import AssumedValues
from bevdiag.source.writing import IN_PLACE, make_writable
from bevdiag.trace.recorder import Recorder, as_unwatched_meta

Handler = Callable[["DeviceLanes", Any, tuple[Any, ...], dict[str, Any]], Any]

# Equal, but not the same object: what a tensor answers tells which lane to follow from there.
FEATURES = torch.device("cuda", 0)
VALUES = torch.device("cuda", 0)

_LIBRARIES = (
    str(Path(torch.__file__).parent) + "/",
    str(Path(__file__).resolve().parents[1]) + "/",
)

_FROM_CONSTANTS = frozenset(
    {
        torch.arange,
        torch.as_tensor,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.ones,
        torch.randint,
        torch.randperm,
        torch.range,
        torch.tensor,
        torch.zeros,
    }
)
"""Values are known, until features are written into them (see `writing.py`)."""
_UNKNOWN = frozenset({torch.empty, torch.rand, torch.randn})
_LIKE = frozenset(
    {
        torch.zeros_like,
        torch.ones_like,
        torch.empty_like,
        torch.full_like,
        torch.rand_like,
        torch.randn_like,
    }
)
_ONES = frozenset({torch.ones_like, torch.Tensor.new_ones})
_CPU = torch.device("cpu")


class DeviceLanes(TorchFunctionMode):
    """Keeps the pretence up while it is active.

    Args:
        recorder: knows which tensors are the device's.
        values: supplies what depends on features.
    """

    def __init__(self, recorder: Recorder, values: AssumedValues) -> None:
        super().__init__()
        self.recorder = recorder
        self.values = values

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        handler = _HANDLERS.get(func)
        if handler is not None and not _asked_by_library():
            return handler(self, func, args, kwargs)
        if func in _DEVICE_TAKERS and is_cuda(kwargs.get("device")):
            return self.make(func, args, kwargs)
        handler = _ALWAYS.get(func)
        if handler is not None:
            return handler(self, func, args, kwargs)
        return func(*args, **kwargs)

    # -- moving ----------------------------------------------------------------------------------

    def to_device(self, tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
        """A copy on the device, values kept; the tensor itself if it is there already."""
        if self.recorder.is_device(tensor):
            return tensor if dtype is None else tensor.to(dtype)
        with self.recorder.for_device():
            copied = (
                tensor.detach().clone() if dtype is None else tensor.detach().to(dtype, copy=True)
            )
        return copied.requires_grad_(tensor.requires_grad and copied.is_floating_point())

    def to_host(self, tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A copy on the host; zeros where there are no values."""
        if tensor.is_meta:
            where = self.recorder.attribution.current_path() or "the detector"
            self.recorder.notes.append(
                f"{where}: features were copied to the host and taken to be 0"
            )
            with self.recorder.on_host():
                return torch.zeros(tensor.shape, dtype=dtype or tensor.dtype, device=_CPU)
        if not self.recorder.is_device(tensor):
            return tensor if dtype is None else tensor.to(dtype)
        with self.recorder.on_host():
            return tensor.detach().to(dtype or tensor.dtype, copy=True)

    def make(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A factory called with a CUDA device."""
        device = kwargs["device"]
        kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
        if func in _LIKE and isinstance(args[0], torch.Tensor):
            return self.note_ones(func, func(*args, **{**kwargs, "device": _real(args[0].device)}))
        dtype = kwargs.get("dtype") or torch.get_default_dtype()
        if func in _UNKNOWN and device is FEATURES and dtype.is_floating_point:
            return func(*args, **{**kwargs, "device": "meta"})
        with self.recorder.for_device():
            return func(*args, **{**kwargs, "device": _CPU})

    def note_ones(self, func: Any, made: torch.Tensor) -> torch.Tensor:
        if func in _ONES and made.is_meta:
            self.values.filled_with_ones(made)
        return made

    def valueless(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same memory as a meta tensor."""
        if tensor.is_meta:
            return tensor
        meta = as_unwatched_meta(tensor)
        self.recorder.share(tensor, meta)
        return meta


def is_cuda(device: Any) -> bool:
    """Whether a device argument means a GPU."""
    if isinstance(device, torch.device):
        return device.type == "cuda"
    if isinstance(device, str):
        return device.startswith("cuda")
    return isinstance(device, int) and not isinstance(device, bool)


def _real(device: torch.device) -> torch.device:
    return _CPU if device.type == "cuda" else device


def _asked_by_library() -> bool:
    return sys._getframe(2).f_code.co_filename.startswith(_LIBRARIES)


# -- handlers -------------------------------------------------------------------------------------


def _device(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor = args[0]
    if tensor.is_meta:
        return FEATURES
    return VALUES if lanes.recorder.is_device(tensor) else func(*args)


def _is_cuda(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return lanes.recorder.is_device(args[0])


def _is_cpu(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return not lanes.recorder.is_device(args[0])


def _get_device(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return 0 if lanes.recorder.is_device(args[0]) else -1


def _cuda(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return lanes.to_device(args[0], None)


def _cpu(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return lanes.to_host(args[0])


def _to(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor = args[0]
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    other = kwargs.get("other")
    for value in (*args[1:], other):
        if isinstance(value, torch.Tensor):
            device = VALUES if lanes.recorder.is_device(value) else _CPU
            dtype = value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, (torch.device, str)) or _is_index(value):
            device = value
    if device is None:
        return func(*args, **kwargs)
    if is_cuda(device):
        return lanes.to_device(tensor, dtype)
    if torch.device(device).type == "cpu":
        return lanes.to_host(tensor, dtype)
    return func(*args, **kwargs)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _type(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor, target = args[0], args[1] if len(args) > 1 else kwargs.get("dtype")
    if target is None:
        name: str = torch.empty(0, dtype=tensor.dtype).type()
        return name.replace("torch.", "torch.cuda.") if lanes.recorder.is_device(tensor) else name
    dtype = getattr(target, "dtype", None)
    if isinstance(target, str) and target.startswith("torch.cuda."):
        target = target.replace("torch.cuda.", "torch.")
        return lanes.to_device(tensor, torch.empty(0).type(target).dtype)
    if dtype is not None and getattr(target, "is_cuda", False):
        return lanes.to_device(tensor, dtype)
    if isinstance(target, str) or not isinstance(target, torch.dtype):
        dtype = torch.empty(0).type(target).dtype
        return lanes.to_host(tensor, dtype)
    return tensor.to(target)


def _type_as(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor, other = args
    if lanes.recorder.is_device(other):
        return lanes.to_device(tensor, other.dtype)
    return lanes.to_host(tensor, other.dtype)


def _to_python(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    if not args[0].is_meta:
        return func(*args, **kwargs)
    return func(lanes.to_host(args[0]), *args[1:], **kwargs)


def _new(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    device = kwargs.pop("device", None)
    if device is None or (is_cuda(device) and args[0].is_meta):
        return lanes.note_ones(func, func(*args, **kwargs))
    if is_cuda(device):
        with lanes.recorder.for_device():
            return func(*args, **kwargs)
    with lanes.recorder.on_host():
        return func(*args, **kwargs, device=_CPU)


def _ones_like(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return lanes.note_ones(func, func(*args, **kwargs))


def _getitem(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    result = mixed_get(lanes.recorder, *args)
    return func(*args, **kwargs) if result is NotImplemented else result


def _setitem(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    lanes.values.written(args[0])
    make_writable(lanes.recorder, args[0], args[1:])
    result = mixed_set(lanes.recorder, *args)
    return func(*args, **kwargs) if result is NotImplemented else result


def _in_place(lanes: DeviceLanes, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    lanes.values.written(args[0])
    make_writable(lanes.recorder, args[0], (*args[1:], *kwargs.values()))
    return func(*args, **kwargs)


def _property(name: str) -> Any:
    return getattr(torch.Tensor, name).__get__


_T = torch.Tensor
_HANDLERS: dict[Any, Handler] = {
    _property("device"): _device,
    _property("is_cuda"): _is_cuda,
    _property("is_cpu"): _is_cpu,
    _T.get_device: _get_device,
    _T.cuda: _cuda,
    _T.cpu: _cpu,
    _T.to: _to,
    _T.type: _type,
    _T.type_as: _type_as,
    _T.numpy: _to_python,
    _T.tolist: _to_python,
}
_NEW = (_T.new_zeros, _T.new_ones, _T.new_empty, _T.new_full, _T.new_tensor)
_ALWAYS: dict[Any, Handler] = {
    _T.__getitem__: _getitem,
    _T.__setitem__: _setitem,
    **dict.fromkeys(_NEW, _new),
    torch.ones_like: _ones_like,
    **dict.fromkeys(IN_PLACE, _in_place),
}
_DEVICE_TAKERS: frozenset[Any] = _FROM_CONSTANTS | _UNKNOWN | _LIKE
