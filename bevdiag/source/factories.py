"""Every call that names a CUDA device: where what it makes goes.

Not a list of functions: whatever takes a device and is given the GPU's is called with the device
that stands for it, so the functions of the next release are among them.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _device

from bevdiag.source.cuda_runtime import CPU, FEATURES, VALUES, is_cuda
from bevdiag.trace.operands import tensors_in

if TYPE_CHECKING:
    from bevdiag.source.simulated_gpu import SimulatedGpu

_T = torch.Tensor
_LIKE_ENDING = "_like"
_WRAPPERS = frozenset({torch.as_tensor, torch.asarray})
_MOVES = frozenset({_T.to, _T.cuda})
_NEW = frozenset(getattr(_T, name) for name in dir(_T) if name.startswith("new_"))
_NO_VALUES = ("empty", "rand", "normal")
_INTEGERS = ("randint", "randperm")


def names_cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is given a CUDA device, as an argument."""
    if isinstance(func, type) or func in _MOVES or func in _NEW:
        return False  # torch.device itself among the types
    device = kwargs.get("device")
    if device is not None:
        return is_cuda(device)
    return any(map(_is_gpu, args))


def makes_by_default(func: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a call makes something on a CUDA device that is the default, or the context's."""
    default = _device.CURRENT_DEVICE
    return (
        default is not None
        and is_cuda(default)
        and kwargs.get("device") is None
        and func in _device._device_constructors()
    )


def moves_to_cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a tensor's own method is asked to bring it to a CUDA device."""
    if func is _T.cuda:
        return True
    named = kwargs.get("device") or (args[1] if len(args) > 1 else None)
    return func is _T.to and isinstance(named, (torch.device, str)) and is_cuda(named)


def _is_gpu(value: Any) -> bool:
    return isinstance(value, torch.device) and value.type == "cuda"


def make(gpu: "SimulatedGpu", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
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
    if name.endswith(_LIKE_ENDING) and given and given[0].is_meta:
        return func(*args, **{**kwargs, "device": given[0].device})
    if any(tensor.is_meta for tensor in given):
        return func(*args, **{**kwargs, "device": "meta", **_without_generator(kwargs)})
    # What is to get a gradient, at the latest from features, has to be where they are.
    has_none = kwargs.get("requires_grad") or (device is FEATURES and _has_no_values(name))
    if not given and has_none and not gpu.is_rehearsing and _floats(kwargs.get("dtype")):
        return func(*args, **{**kwargs, "device": "meta", **_without_generator(kwargs)})
    target = {"device": CPU} if placed is None else {}
    with gpu.recorder.for_device():
        return func(*args, **{**kwargs, **target})


def _without_generator(kwargs: dict[str, Any]) -> dict[str, None]:
    """No numbers are drawn for features, and a CPU generator cannot serve them."""
    return {"generator": None} if "generator" in kwargs else {}


def _has_no_values(name: str) -> bool:
    return name.startswith(_NO_VALUES) and not name.startswith(_INTEGERS)


def _floats(dtype: torch.dtype | None) -> bool:
    return (dtype or torch.get_default_dtype()).is_floating_point
