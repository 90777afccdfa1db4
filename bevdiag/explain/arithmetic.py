"""Where the bytes of an allocation come from, in words and numbers."""

from math import prod

from bevdiag.memory.allocator import block_bytes, segment_bytes
from bevdiag.memory.conv import CUDNN_64BIT, INT32_MAX, conv_backend
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Alloc, Category
from bevdiag.memory.requests import ConvCall, GemmWorkspace
from bevdiag.memory.sizes import format_size

_FIXED = ".".join(map(str, CUDNN_64BIT[:2]))


def what_of(alloc: Alloc, target: DeviceTarget) -> str:
    """Say what the allocation is: a convolution's im2col buffer, a gradient, an activation."""
    request = alloc.request
    if isinstance(request, ConvCall):
        choice = conv_backend(request, target.cudnn)
        buffer = "im2col buffer (workspace)" if choice.columns is not None else "cuDNN workspace"
        return f"{buffer} of the {_direction(request)}"
    if isinstance(request, GemmWorkspace):
        return "cuBLAS workspace"
    operation = alloc.op.removeprefix("aten.").partition(".")[0]
    made = f"of {operation}" if alloc.category is not Category.INPUT else "in the batch"
    return f"{alloc.category.value} {made}"


def arithmetic_of(alloc: Alloc, nbytes: int, target: DeviceTarget) -> str:
    """Return the product that gives the bytes, and the segment that they become."""
    segment = segment_bytes(block_bytes(nbytes))
    printed = f"{nbytes:,} B = {format_size(nbytes)}"
    if format_size(segment) != format_size(nbytes):
        printed += f", in a segment of {format_size(segment)}"
    request = alloc.request
    if isinstance(request, ConvCall):
        columns = conv_backend(request, target.cudnn).columns
        if columns is not None:
            return (
                f"{columns.channels:,} channels x {columns.kernel_volume} x "
                f"{columns.positions:,} positions x {columns.element_bytes} B = {printed}, for one "
                f"sample whatever the batch"
            )
        shapes = " + ".join(
            _shape(shape)
            for shape in (request.input_shape, request.weight_shape, request.output_shape)
        )
        return f"channels-last copies of {shapes} x {request.element_bytes} B: {printed}"
    elements = prod(alloc.shape)
    if alloc.shape and elements and nbytes % elements == 0:
        return f"{_shape(alloc.shape)} x {nbytes // elements} B = {printed}"
    return printed


def condition_of(alloc: Alloc, target: DeviceTarget) -> str:
    """Say what must hold for the step to ask for this, where cuDNN's version decides; else ""."""
    request = alloc.request
    if not isinstance(request, ConvCall):
        return ""
    choice = conv_backend(request, target.cudnn)
    if not choice.needs_64bit:
        return ""
    beyond = f"one sample has {choice.elements:,} elements, more than 2^31 - 1 = {INT32_MAX:,}"
    if choice.refused_by_cudnn:
        return (
            f"cuDNN before {_FIXED} (torch's default wheels up to 2.6): {beyond}, so PyTorch "
            "bypasses cuDNN"
        )
    return f"cuDNN {_FIXED} or later (torch's default wheels from 2.7 on): {beyond}"


def _direction(call: ConvCall) -> str:
    words = {
        "forward": "forward convolution",
        "dgrad": "convolution's input gradient",
        "wgrad": "convolution's weight gradient",
    }
    return words[call.direction]


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape) or "1"
