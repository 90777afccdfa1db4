"""What becomes of each call that asks about devices, moves between them, or mixes them."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from bevdiag.source.cuda_runtime import CPU, FEATURES, VALUES, is_cuda
from bevdiag.source.mixed_indexing import mixed_get, mixed_set
from bevdiag.source.sparse_coo import sparse_coo
from bevdiag.source.writing import IN_PLACE, make_writable
from bevdiag.trace.assumed_values import RehearsedValues
from bevdiag.trace.places import user_place

if TYPE_CHECKING:
    from bevdiag.source.simulated_gpu import SimulatedGpu

Handler = Callable[["SimulatedGpu", Any, tuple[Any, ...], dict[str, Any]], Any]


def _device(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor = args[0]
    if gpu.recorder.is_device(tensor):
        return FEATURES if tensor.is_meta else VALUES
    return CPU if tensor.is_meta else func(*args)


def _is_cuda(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return gpu.recorder.is_device(args[0])


def _is_cpu(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return not gpu.recorder.is_device(args[0])


def _get_device(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    return 0 if gpu.recorder.is_device(args[0]) else -1


def _to(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor = args[0]
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    other = kwargs.get("other")
    for value in (*args[1:], other):
        if isinstance(value, torch.Tensor):
            device = VALUES if gpu.recorder.is_device(value) else CPU
            dtype = value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, (torch.device, str)) or _is_index(value):
            device = value
    if device is None:
        return func(*args, **kwargs)
    if is_cuda(device):
        return gpu.to_device(tensor, dtype)
    if torch.device(device).type == "cpu":
        return gpu.to_host(tensor, dtype)
    return func(*args, **kwargs)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _type(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor, target = args[0], args[1] if len(args) > 1 else kwargs.get("dtype")
    if target is None:
        name: str = torch.empty(0, dtype=tensor.dtype).type()
        return name.replace("torch.", "torch.cuda.") if gpu.recorder.is_device(tensor) else name
    dtype = getattr(target, "dtype", None)
    if isinstance(target, str) and target.startswith("torch.cuda."):
        target = target.replace("torch.cuda.", "torch.")
        return gpu.to_device(tensor, torch.empty(0).type(target).dtype)
    if dtype is not None and getattr(target, "is_cuda", False):
        return gpu.to_device(tensor, dtype)
    if isinstance(target, str) or not isinstance(target, torch.dtype):
        dtype = torch.empty(0).type(target).dtype
        return gpu.to_host(tensor, dtype)
    return tensor.to(target)


def _type_as(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    tensor, other = args
    if gpu.recorder.is_device(other):
        return gpu.to_device(tensor, other.dtype)
    return gpu.to_host(tensor, other.dtype)


def _to_python(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    if not args[0].is_meta:
        gpu.recorder.asked("copy", args[0])
        return func(*args, **kwargs)
    return func(gpu.to_host(args[0], is_read=True), *args[1:], **kwargs)


def _new(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
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


def _getitem(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    result = mixed_get(gpu.recorder, *args)
    return func(*args, **kwargs) if result is NotImplemented else result


def _kept(gpu: "SimulatedGpu", args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a write; what goes into a tensor of the host has to have values."""
    (target, *sources), values = args, gpu.values
    if target.is_meta or gpu.recorder.is_device(target) or isinstance(values, RehearsedValues):
        return args
    for place, value in enumerate(sources):
        if isinstance(value, _T) and value.is_meta and not gpu.recorder.is_device(value):
            values.leave_open(
                f"{user_place(sys._getframe(1))}: features copied to the host are kept in a tensor"
            )
            with gpu.recorder.on_host():
                sources[place] = torch.zeros(value.shape, dtype=value.dtype, device=CPU)
    return (target, *sources)


def _setitem(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    args = _kept(gpu, args)
    make_writable(gpu.recorder, args[0], args[1:])
    result = mixed_set(gpu.recorder, *args)
    return func(*args, **kwargs) if result is NotImplemented else result


def _in_place(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    args = _kept(gpu, args)
    make_writable(gpu.recorder, args[0], (*args[1:], *kwargs.values()))
    return func(*args, **kwargs)


def _sparse(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    result = sparse_coo(*args, **kwargs)
    return func(*args, **kwargs) if result is NotImplemented else result


def _property(name: str) -> Any:
    return getattr(torch.Tensor, name).__get__


_T = torch.Tensor
FOR_THE_REPOSITORY: dict[Any, Handler] = {
    _property("device"): _device,
    _property("is_cuda"): _is_cuda,
    _property("is_cpu"): _is_cpu,
    _T.get_device: _get_device,
    _T.cuda: lambda gpu, _, args, __: gpu.to_device(args[0], None),
    _T.cpu: lambda gpu, _, args, __: gpu.to_host(args[0]),
    _T.to: _to,
    _T.type: _type,
    _T.type_as: _type_as,
    _T.numpy: _to_python,
    _T.tolist: _to_python,
}
_NEW = (_T.new_zeros, _T.new_ones, _T.new_empty, _T.new_full, _T.new_tensor)
FOR_ALL: dict[Any, Handler] = {
    _T.__array__: _to_python,
    _T.__getitem__: _getitem,
    _T.__setitem__: _setitem,
    torch.sparse_coo_tensor: _sparse,
    **dict.fromkeys(_NEW, _new),
    **dict.fromkeys(IN_PLACE, _in_place),
}
