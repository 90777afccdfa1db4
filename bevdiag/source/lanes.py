"""A GPU for code that insists on one: tensors that say they are on `cuda:0` but are not.

What code puts on the GPU goes one of two ways. Features become meta tensors. Integers, masks and
what is made from constants keep their values in CPU tensors that count as device memory, because
they decide shapes. The code sees one device: both answer `cuda:0` when asked, and everything that
takes a device takes it back. Only what the repository itself asks is answered so; PyTorch's and
bevdiag's own Python code learns the truth.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from bevdiag.source.devices import CPU, FEATURES, is_cuda
from bevdiag.source.handlers import FOR_ALL, FOR_THE_REPOSITORY
from bevdiag.source.values import AssumedValues
from bevdiag.trace.operands import as_unwatched_meta
from bevdiag.trace.recorder import Recorder

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
_DEVICE_TAKERS: frozenset[Any] = _FROM_CONSTANTS | _UNKNOWN | _LIKE


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
        handler = FOR_THE_REPOSITORY.get(func)
        if handler is not None and not _asked_by_library():
            return handler(self, func, args, kwargs)
        if func in _DEVICE_TAKERS and is_cuda(kwargs.get("device")):
            return self.make(func, args, kwargs)
        handler = FOR_ALL.get(func)
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
                return torch.zeros(tensor.shape, dtype=dtype or tensor.dtype, device=CPU)
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
            return func(*args, **{**kwargs, "device": CPU})

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


def _real(device: torch.device) -> torch.device:
    return CPU if device.type == "cuda" else device


def _asked_by_library() -> bool:
    return sys._getframe(2).f_code.co_filename.startswith(_LIBRARIES)
