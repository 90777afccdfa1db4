"""Which backend PyTorch gives a convolution to, and why.

Follows `needs_64bit_indexing_no_split` and `use_cudnn` of `aten/src/ATen/native/Convolution.cpp`:
a tensor with more than 2^31 - 1 elements in one sample cannot be indexed with 32 bits and cannot be
split along the batch, and cuDNN before 9.3 is not given such a call.
"""

from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import NamedTuple

from bevdiag.memory.requests import ConvCall

INT32_MAX = 2**31 - 1
CUDNN_64BIT = (9, 3, 0)
"""First cuDNN that PyTorch trusts with 64-bit indices (pytorch PR 134890)."""
CUDNN_HALF_CONV3D_REFUSED = ((9, 8, 0), (9, 15, 0))
"""From and before which cuDNN a contiguous fp16 or bf16 conv3d goes to the slow path."""


class Backend(str, Enum):
    """The implementations a convolution can end up in, named as in PyTorch's source."""

    CUDNN = "cudnn"
    SLOW_2D = "slow_conv2d"
    SLOW_TRANSPOSE_2D = "slow_conv_transpose2d"
    SLOW_TRANSPOSE_3D = "slow_conv_transpose3d"
    SLOW_DILATED_2D = "slow_conv_dilated2d"
    SLOW_DILATED_3D = "slow_conv_dilated3d"
    DEPTHWISE = "conv_depthwise"


class Columns(NamedTuple):
    """The im2col buffer of a slow backend: one sample's patches, laid out as a matrix.

    `channels` * `kernel_volume` rows and `positions` columns. Positions are those of the output;
    of the input for a transposed convolution, whose channels are those of the output.
    """

    channels: int
    kernel_volume: int
    positions: int
    element_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer."""
        return prod(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """The backend of a convolution and the numbers that decided it.

    Attributes:
        backend: where the call goes.
        needs_64bit: whether one sample of input or output exceeds 2^31 - 1 elements.
        elements: of one sample, of input or output, whichever has more.
        refused_by_cudnn: whether cuDNN would have taken the call were it not for its version.
        columns: the buffer that a slow backend allocates, None where there is none.
    """

    backend: Backend
    needs_64bit: bool
    elements: int
    refused_by_cudnn: bool
    columns: Columns | None


def conv_backend(call: ConvCall, cudnn: tuple[int, int, int]) -> BackendChoice:
    """Return the backend of a convolution on CUDA with cuDNN enabled.

    Args:
        call: the convolution; its direction matters for the columns of a 1x1 kernel only.
        cudnn: version of the cuDNN that is loaded.
    """
    elements = max(prod(call.input_shape[1:]), prod(call.output_shape[1:]))
    needs_64bit = bool(call.input_shape[0]) and elements > INT32_MAX
    refused = (needs_64bit and cudnn < CUDNN_64BIT) or _half_conv3d_refused(call, cudnn)
    if _is_depthwise(call) and not needs_64bit and not _is_depthwise_cudnns(call):
        backend, refused = Backend.DEPTHWISE, False
    elif refused:
        backend = _slow_backend(call)
    else:
        backend = Backend.CUDNN
    return BackendChoice(
        backend=backend,
        needs_64bit=needs_64bit,
        elements=elements,
        refused_by_cudnn=refused,
        columns=_columns(call, backend),
    )


def _is_depthwise(call: ConvCall) -> bool:
    channels = call.input_shape[1]
    return (
        not call.transposed and call.groups == channels > 1 and call.weight_shape[0] % channels == 0
    )


def _is_depthwise_cudnns(call: ConvCall) -> bool:
    """Whether PyTorch gives a depthwise convolution to cuDNN rather than to its own kernel.

    Channels-last ones; and of the others those in fp16 for which `use_cudnn_depthwise` and
    `check_cudnn_depthwise_workload_with_filter` say so.
    """
    if call.channels_last:
        return True
    batch, channels, *space = call.input_shape
    is_candidate = (
        call.dtype == "float16"
        and len(space) == 2
        and channels >= 32
        and len(set(call.stride)) == 1
        and all(step == 1 for step in call.dilation)
    )
    if not is_candidate:
        return False
    height, width = space
    stride, kernel = call.stride[1], call.weight_shape[2:]
    if height == 1 and stride == 1:
        return True
    if len(set(kernel)) != 1 or kernel[0] not in (1, 3, 5) or width < 7 or stride > 2:
        return False
    if stride == 1:
        return True
    if kernel[0] == 1:
        return width <= 28 if batch == 1 else batch <= 16 and channels >= 128 and width <= 7
    return batch == 1 or channels >= 512 or (channels >= 256 and width >= 28)


def _half_conv3d_refused(call: ConvCall, cudnn: tuple[int, int, int]) -> bool:
    first, fixed = CUDNN_HALF_CONV3D_REFUSED
    return (
        first <= cudnn < fixed
        and len(call.input_shape) == 5
        and call.element_bytes == 2
        and not call.channels_last
        and any(size != 1 for size in call.weight_shape[2:])
    )


def _slow_backend(call: ConvCall) -> Backend:
    # A 1-D convolution is viewed as a 2-D one of height 1.
    is_3d = len(call.input_shape) == 5
    if call.transposed:
        return Backend.SLOW_TRANSPOSE_3D if is_3d else Backend.SLOW_TRANSPOSE_2D
    if is_3d:
        return Backend.SLOW_DILATED_3D
    if any(step != 1 for step in call.dilation):
        return Backend.SLOW_DILATED_2D
    return Backend.SLOW_2D


def _columns(call: ConvCall, backend: Backend) -> Columns | None:
    if backend in (Backend.CUDNN, Backend.DEPTHWISE):
        return None
    # slow_conv2d needs no columns for a pointwise forward; its backward makes them regardless.
    if backend is Backend.SLOW_2D and call.direction == "forward" and _is_pointwise(call):
        return None
    spatial = call.input_shape[2:] if call.transposed else call.output_shape[2:]
    return Columns(
        # weight_shape[1] counts the channels of one group: (out, in / groups, kernel...), and
        # (in, out / groups, kernel...) for a transposed convolution.
        channels=call.weight_shape[1],
        kernel_volume=prod(call.weight_shape[2:]),
        positions=prod(spatial),
        element_bytes=call.element_bytes,
    )


def _is_pointwise(call: ConvCall) -> bool:
    return (
        all(size == 1 for size in call.weight_shape[2:])
        and all(step == 1 for step in call.stride)
        and not any(call.padding)
    )
