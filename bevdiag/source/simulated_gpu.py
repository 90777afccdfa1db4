"""A GPU for code that insists on one: tensors that say they are on `cuda:0` but are not.

What code puts on the GPU goes one of two ways. Features become meta tensors. Integers, masks and
what is made from constants keep their values in CPU tensors that count as device memory, because
they decide shapes. The code sees one device: both answer `cuda:0` when asked, and everything that
takes a device takes it back. Only what the repository itself asks is answered so; PyTorch's and
bevdiag's own Python code learns the truth.

Which calls make something is not a list of functions: whatever takes a device and is given the
GPU's is called with the device that stands for it, so the functions of the next release are among
them.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device

from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.mixed_values import (
    IN_PLACE,
    ValuelessCoo,
    is_mixed,
    make_writable,
    mixed_get,
    mixed_set,
)
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues
from bevdiag.trace.lazy_number import LazyNumber
from bevdiag.trace.operands import as_meta, tensors_in, unrecorded
from bevdiag.trace.recorder import Recorder

# Equal, but not the same object: what a tensor answers tells whether values follow from there.
FEATURES = torch.device("cuda", 0)
VALUES = torch.device("cuda", 0)
CPU = torch.device("cpu")
_T = torch.Tensor
_LIBRARIES = (
    str(Path(torch.__file__).parent) + "/",
    str(Path(__file__).resolve().parents[1]) + "/",
)


def is_cuda(device: Any) -> bool:
    """Whether a device argument means a GPU."""
    if isinstance(device, torch.device):
        return device.type == "cuda"
    if isinstance(device, str):
        return device.startswith("cuda")
    return isinstance(device, int) and not isinstance(device, bool)


class SimulatedGpu(TorchFunctionMode):
    """Keeps the pretence up while it is active.

    Args:
        recorder: knows which tensors are the device's.
        values: supplies what depends on features.

    Attributes:
        boxes: the ground truth's, [B, boxes, 7 or more]; None while the model is being built.
    """

    def __init__(self, recorder: Recorder, values: AssumedValues | RehearsedValues) -> None:
        super().__init__()
        self.recorder = recorder
        self.values = values
        self.boxes: torch.Tensor | None = None

    @property
    def is_rehearsing(self) -> bool:
        """Whether everything has values, and keeps them."""
        return isinstance(self.values, RehearsedValues)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        by_library = _asked_by_library()
        if LazyNumber in map(type, (*args, *kwargs.values())) and func not in IN_PLACE:
            # What is computed with a number that nobody knows has no values either.
            args = tuple(self.valueless(a) if isinstance(a, _T) else a for a in args)
        handler = _FOR_THE_REPOSITORY.get(func)
        if handler is not None and (not by_library or _moves_to_cuda(func, args, kwargs)):
            return handler(self, func, args, kwargs)
        if _names_cuda(func, args, kwargs) or (not by_library and _makes_by_default(func, kwargs)):
            return _make(self, func, args, kwargs)
        handler = _FOR_ALL.get(func)
        if handler is not None:
            return handler(self, func, args, kwargs)
        if kwargs.get("out") is not None:
            return _written(self, tensors_in((kwargs["out"],), {}), func, args, kwargs)
        return func(*args, **kwargs)

    # -- moving ----------------------------------------------------------------------------------

    def to_device(self, tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
        """Return a copy on the device, values kept; the tensor itself if it is there already."""
        if self.recorder.is_device(tensor):
            return tensor if dtype is None else tensor.to(dtype)
        source = tensor.detach()  # not inside: the copy is the device's, the original stays
        with self.recorder.for_device():
            copied = source.clone() if dtype is None else source.to(dtype, copy=True)
        return copied.requires_grad_(tensor.requires_grad and copied.is_floating_point())

    def to_host(
        self, tensor: torch.Tensor, dtype: torch.dtype | None = None, *, is_read: bool = False
    ) -> torch.Tensor:
        """Return a copy on the host; zeros where nobody knows the values."""
        copied = self.recorder.copied_to_host(tensor, dtype, is_read=is_read)
        if copied is not None:
            return copied
        if not self.recorder.is_device(tensor):
            return tensor if dtype is None else tensor.to(dtype)
        with self.recorder.on_host():
            return tensor.detach().to(dtype or tensor.dtype, copy=True)

    def valueless(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the same memory as a meta tensor; in a rehearsal the tensor itself."""
        if tensor.is_meta or self.is_rehearsing:
            return tensor
        meta = unrecorded(as_meta, tensor)
        self.recorder.share(tensor, meta)
        return meta


def _asked_by_library() -> bool:
    return sys._getframe(2).f_code.co_filename.startswith(_LIBRARIES)


# -- what calls make ---------------------------------------------------------------------------

_WRAPPERS = frozenset({torch.as_tensor, torch.asarray})
_BY_THEMSELVES = frozenset(
    {_T.to, _T.cuda, *(getattr(_T, name) for name in dir(_T) if name.startswith("new_"))}
)
"""Methods that move a tensor or make one beside it: their handlers see to the device."""
_NO_VALUES = ("empty", "rand", "normal")
_INTEGERS = ("randint", "randperm")


def _names_cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is given a CUDA device, as an argument."""
    if isinstance(func, type) or func in _BY_THEMSELVES:
        return False  # torch.device itself among the types
    device = kwargs.get("device")
    if device is not None:
        return is_cuda(device)
    return any(map(_is_gpu, args))


def _makes_by_default(func: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a call makes something on a CUDA device that is the default, or the context's."""
    default = _device.CURRENT_DEVICE
    return (
        default is not None
        and is_cuda(default)
        and kwargs.get("device") is None
        and func in _device._device_constructors()
    )


def _moves_to_cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a tensor's own method is asked to bring it to a CUDA device."""
    if func is _T.cuda:
        return True
    named = kwargs.get("device") or (args[1] if len(args) > 1 else None)
    return func is _T.to and isinstance(named, (torch.device, str)) and is_cuda(named)


def _is_gpu(value: Any) -> bool:
    return isinstance(value, torch.device) and value.type == "cuda"


def _make(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make what the call makes, with or without values, as suits it, counted as the device's.

    Next to tensors it goes where they are. What has no values worth keeping follows the device it
    was given: that of features makes features.
    """
    placed = next((value for value in args if _is_gpu(value)), None)
    device = kwargs.get("device") or placed or VALUES
    args = tuple(CPU if _is_gpu(value) else value for value in args)
    kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    given = list(tensors_in(args, kwargs))
    name = getattr(func, "__name__", "")
    if func in _WRAPPERS and args and isinstance(args[0], _T):
        dtype = kwargs.get("dtype", args[1] if len(args) > 1 else None)
        return gpu.to_device(args[0], dtype if isinstance(dtype, torch.dtype) else None)
    if name.endswith("_like") and given and given[0].is_meta:
        return func(*args, **{**kwargs, "device": given[0].device})
    # What is to get a gradient, at the latest from features, has to be where they are.
    drawn = name.startswith(_NO_VALUES) and not name.startswith(_INTEGERS)
    has_none = kwargs.get("requires_grad") or (device is FEATURES and drawn)
    floats = (kwargs.get("dtype") or torch.get_default_dtype()).is_floating_point
    if any(tensor.is_meta for tensor in given) or (
        not given and has_none and not gpu.is_rehearsing and floats
    ):
        # No numbers are drawn for features, and a CPU generator cannot serve them.
        without_generator = {"generator": None} if "generator" in kwargs else {}
        return func(*args, **{**kwargs, "device": "meta", **without_generator})
    target = {"device": CPU} if placed is None else {}
    with gpu.recorder.for_device():
        return func(*args, **{**kwargs, **target})


# -- what becomes of calls that ask about devices, move between them, or mix them ---------------

_Handler = Callable[[SimulatedGpu, Any, tuple[Any, ...], dict[str, Any]], Any]


def _device_of(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor = args[0]
    if gpu.recorder.is_device(tensor):
        return FEATURES if tensor.is_meta else VALUES
    return CPU if tensor.is_meta else func(*args)


def _to(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # PyTorch's own reader of these arguments asks which accelerator a number means.
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for value in (*args[1:], kwargs.get("other")):
        if isinstance(value, _T):
            device, dtype = VALUES if gpu.recorder.is_device(value) else CPU, value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, (torch.device, str, int)) and not isinstance(value, bool):
            device = value
    if device is not None and is_cuda(device):
        return gpu.to_device(args[0], dtype)
    if device is not None and torch.device(device).type == "cpu":
        return gpu.to_host(args[0], dtype)
    return func(*args, **kwargs)


def _type(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor, target = args[0], args[1] if len(args) > 1 else kwargs.get("dtype")
    if target is None:
        name: str = torch.empty(0, dtype=tensor.dtype).type()
        return name.replace("torch.", "torch.cuda.") if gpu.recorder.is_device(tensor) else name
    if isinstance(target, torch.dtype):
        return tensor.to(target)
    # The name of a legacy type, or the type itself.
    on_gpu = getattr(target, "is_cuda", str(target).startswith("torch.cuda."))
    plain = target.replace("torch.cuda.", "torch.") if isinstance(target, str) else target
    dtype = getattr(plain, "dtype", None) or torch.empty(0).type(plain).dtype
    return gpu.to_device(tensor, dtype) if on_gpu else gpu.to_host(tensor, dtype)


def _to_python(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor = gpu.recorder.as_known(args[0])
    if not tensor.is_meta:
        gpu.recorder.asked("copy", tensor)
        return func(*args, **kwargs)
    return func(gpu.to_host(tensor, is_read=True), *args[1:], **kwargs)


def _new(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    device = kwargs.pop("device", None)
    dtype = kwargs.get("dtype") or args[0].dtype
    on_gpu = device is None or is_cuda(device)
    is_known = not dtype.is_floating_point or func is _T.new_tensor
    if on_gpu and args[0].is_meta and is_known and not gpu.is_rehearsing:
        # Labels, indices and masks made beside features are constants, and have values; so is data.
        with gpu.recorder.for_device():
            return func(*args, **kwargs, device=CPU)
    if device is None and not args[0].is_meta and gpu.recorder.is_device(args[0]):
        device = torch.device("cuda")
    if device is None or (is_cuda(device) and args[0].is_meta):
        return func(*args, **kwargs)
    if is_cuda(device):
        with gpu.recorder.for_device():
            return func(*args, **kwargs)
    with gpu.recorder.on_host():
        return func(*args, **kwargs, device=CPU)


def _getitem(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return mixed_get(*args) if is_mixed(*args) else func(*args, **kwargs)


def _setitem(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    make_writable(gpu.recorder, args[0], args[1:])
    args = (gpu.recorder.as_known(args[0]), *args[1:])
    if is_mixed(*args[:2]):
        return mixed_set(gpu.recorder, *args)
    return func(*args, **kwargs)


def _in_place(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return _written(gpu, tensors_in(args[:1], {}), func, args, kwargs)


def _written(
    gpu: SimulatedGpu, targets: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call what writes into tensors, which lose their values where features are among the rest."""
    for target in targets:
        make_writable(gpu.recorder, target, (*args, *kwargs.values()))
    return func(*args, **kwargs)


def _set_memory(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    if len(args) < 2 or not isinstance(args[1], _T):
        return func(*args, **kwargs)
    target, source, *place = args
    make_writable(gpu.recorder, target, (source,))
    if target.is_meta:
        source = gpu.valueless(source)
    elif source.is_meta:
        raise stopped(
            "a tensor with values that others look at is given the memory of features, which a "
            "run without a GPU cannot follow",
            Remedy.CONSTANTS,
        )
    return func(target, source, *place, **kwargs)


def _sparse(gpu: SimulatedGpu, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    parts = args[:2]
    if (
        len(parts) == 2
        and all(isinstance(part, _T) for part in parts)
        and any(part.is_meta for part in parts)
    ):
        size = args[2] if len(args) > 2 else kwargs.get("size")
        return ValuelessCoo(*parts, size)
    return func(*args, **kwargs)


_ASKED: Any = _T  # whose properties are descriptors, whatever their types say
_FOR_THE_REPOSITORY: dict[Any, _Handler] = {
    _ASKED.device.__get__: _device_of,
    _ASKED.is_cuda.__get__: lambda gpu, _, args, __: gpu.recorder.is_device(args[0]),
    _ASKED.is_cpu.__get__: lambda gpu, _, args, __: not gpu.recorder.is_device(args[0]),
    _T.get_device: lambda gpu, _, args, __: 0 if gpu.recorder.is_device(args[0]) else -1,
    _T.cuda: lambda gpu, _, args, __: gpu.to_device(args[0], None),
    _T.cpu: lambda gpu, _, args, __: gpu.to_host(args[0]),
    _T.to: _to,
    _T.type: _type,
    _T.type_as: _to,
    _T.numpy: _to_python,
    _T.tolist: _to_python,
}
_NEW = (_T.new_zeros, _T.new_ones, _T.new_empty, _T.new_full, _T.new_tensor)
_FOR_ALL: dict[Any, _Handler] = {
    _ASKED.is_meta.__get__: lambda gpu, _, args, __: gpu.recorder.as_known(args[0]).is_meta,
    _T.__array__: _to_python,
    _T.__getitem__: _getitem,
    torch.sparse_coo_tensor: _sparse,
    **dict.fromkeys(_NEW, _new),
    **dict.fromkeys(IN_PLACE, _in_place),
    _T.__setitem__: _setitem,
    **dict.fromkeys((_ASKED.data.__set__, _T.set_), _set_memory),
}
