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

from bevdiag.source import factories
from bevdiag.source.handlers import FOR_ALL, FOR_THE_REPOSITORY
from bevdiag.trace.assumed_values import AssumedValues, RehearsedValues
from bevdiag.trace.operands import as_meta, unrecorded
from bevdiag.trace.recorder import Recorder
from bevdiag.trace.unknown_values import copied_to_host

_LIBRARIES = (
    str(Path(torch.__file__).parent) + "/",
    str(Path(__file__).resolve().parents[1]) + "/",
)


class SimulatedGpu(TorchFunctionMode):
    """Keeps the pretence up while it is active.

    Args:
        recorder: knows which tensors are the device's.
        values: supplies what depends on features.
    """

    def __init__(self, recorder: Recorder, values: AssumedValues | RehearsedValues) -> None:
        super().__init__()
        self.recorder = recorder
        self.values = values

    @property
    def is_rehearsing(self) -> bool:
        """Whether everything has values, and keeps them."""
        return isinstance(self.values, RehearsedValues)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        by_library = _asked_by_library()
        handler = FOR_THE_REPOSITORY.get(func)
        if handler is not None and (not by_library or factories.moves_to_cuda(func, args, kwargs)):
            return handler(self, func, args, kwargs)
        if factories.names_cuda(func, args, kwargs) or (
            not by_library and factories.makes_by_default(func, kwargs)
        ):
            return factories.make(self, func, args, kwargs)
        handler = FOR_ALL.get(func)
        if handler is not None:
            return handler(self, func, args, kwargs)
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
        copied = copied_to_host(self.recorder, tensor, dtype, is_read=is_read)
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
