"""Workspace of a convolution that cuDNN runs.

cuDNN's tensor-core kernels want channels-last operands. PyTorch hands it NCHW tensors, so the
workspace holds a channels-last copy of each operand: input, weight and output alike, whichever of
them the direction reads or writes. Channels are padded to the 16 bytes that such a kernel loads at
once. A 1x1 kernel is a matrix product over NCHW as it stands and copies nothing, unless indices
need 64 bits.

On top, a kernel that gives several thread blocks a share of one output tile keeps their partial
sums in fp32. Weight gradients do so as a rule, because their output is small and their sums run
over all pixels: tiles of 128 x 128 (64 where there are no more channels) channels a kernel offset,
as many blocks a tile as the multiprocessors allow. cuDNN's heuristics choose other tiles at times,
so the upper bound is what the hardware allows: one block a multiprocessor, one tile a block.

Held against 168 workspaces that cuDNN 9.19 asked for on an H200 (3x3 and 1x1 kernels, fp32 with
TF32, fp16). Where nothing was measured (transposed and 3-D convolutions, groups, channels-last
tensors, other compute capabilities) the lower bound is 0.
"""

from dataclasses import dataclass
from math import ceil, prod

from bevdiag.memory.conv import INT32_MAX
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import ConvCall

VECTOR_BYTES = 16
"""Channels-last kernels load channels in vectors of 16 bytes: 4 of fp32, 8 of fp16."""
COPY_ALIGNMENT_BYTES = 128
"""Each copy starts at such a boundary."""
COUNTER_BYTES = 4
"""A thread block's semaphore where blocks share a tile."""
ACCUMULATOR_BYTES = 4
"""Partial sums are fp32."""
TILE_CHANNELS = 128
FORWARD_TILE_ELEMENTS = 128 * 128
WGRAD_TILE_ELEMENTS = 128 * 256
"""The largest accumulator tile of one thread block."""
TENSOR_CORE_HALF = (7, 0)
TENSOR_CORE_FP32 = (8, 0)
"""First compute capability with TF32."""


@dataclass(frozen=True, slots=True)
class CudnnBytes:
    """Bounds and the most likely size of cuDNN's workspace."""

    low: int
    expected: int
    high: int


def cudnn_workspace(call: ConvCall, target: DeviceTarget) -> CudnnBytes:
    """Return the workspace of a convolution that goes through cuDNN."""
    copies = _Copies.of(call)
    is_measured = _is_measured(call, target)
    if max(prod(call.input_shape), prod(call.output_shape)) > INT32_MAX:
        # With 64-bit indices even a pointwise convolution copies; its weight has no layout.
        weight = 0 if _is_pointwise(call) else copies.weight
        staged = copies.input + weight + copies.output
        aligned = staged + COPY_ALIGNMENT_BYTES * (3 if weight else 2)
        return CudnnBytes(aligned if is_measured else 0, aligned, aligned)
    shared = _shared_tiles(call, target)
    if _is_pointwise(call):
        return _pointwise(call, copies, shared, is_measured=is_measured)
    partial_sums = _split_sums(call, target) if call.direction == "wgrad" else 0
    staged = copies.input + copies.weight + copies.output
    high = staged + max(shared, partial_sums)
    if not is_measured:
        expected = staged if _has_tensor_cores(call, target) and not call.channels_last else 0
        return CudnnBytes(0, expected + partial_sums, high)
    # TF32 forward kernels exist that write NCHW themselves and leave the output's copy out.
    can_write_nchw = call.direction == "forward" and call.element_bytes == 4
    low = staged - copies.output if can_write_nchw else staged
    return CudnnBytes(low, staged + partial_sums, high)


@dataclass(frozen=True, slots=True)
class _Copies:
    """Bytes of the channels-last copies."""

    input: int
    weight: int
    output: int

    @classmethod
    def of(cls, call: ConvCall) -> "_Copies":
        element = call.element_bytes
        vector = max(1, VECTOR_BYTES // element) if call.groups == 1 else 1
        batch, inputs, *in_space = call.input_shape
        outputs, *out_space = call.output_shape[1:]
        rows, columns, *kernel = call.weight_shape
        return cls(
            input=element * batch * _pad(inputs, vector) * prod(in_space),
            weight=element * _pad(rows, vector) * _pad(columns, vector) * prod(kernel),
            output=element * batch * _pad(outputs, vector) * prod(out_space),
        )


def _pad(channels: int, vector: int) -> int:
    return ceil(channels / vector) * vector


def _is_pointwise(call: ConvCall) -> bool:
    return prod(call.weight_shape[2:]) == 1


def _is_measured(call: ConvCall, target: DeviceTarget) -> bool:
    return (
        target.compute_capability == (9, 0)
        and len(call.input_shape) == 4
        and call.groups == 1
        and not call.transposed
        and not call.channels_last
        and call.element_bytes in (2, 4)
        and all(step == 1 for step in call.dilation)
        and call.weight_shape[2:] in ((3, 3), (1, 1))
    )


def _has_tensor_cores(call: ConvCall, target: DeviceTarget) -> bool:
    needed = TENSOR_CORE_HALF if call.element_bytes == 2 else TENSOR_CORE_FP32
    return call.element_bytes in (2, 4) and target.compute_capability >= needed


def _pointwise(call: ConvCall, copies: _Copies, shared: int, *, is_measured: bool) -> CudnnBytes:
    high = shared if is_measured else copies.input + copies.weight + copies.output + shared
    if call.direction != "wgrad":
        return CudnnBytes(0, 0, high)
    # One product a sample, summed afterwards: a partial weight gradient each.
    partial = call.input_shape[0] * prod(call.weight_shape) * ACCUMULATOR_BYTES
    return CudnnBytes(0, partial, max(high, partial))


def _shared_tiles(call: ConvCall, target: DeviceTarget) -> int:
    """Return the bytes of one partial tile a multiprocessor, the most a kernel can share."""
    is_wgrad = call.direction == "wgrad"
    tile = WGRAD_TILE_ELEMENTS if is_wgrad else FORWARD_TILE_ELEMENTS
    block = tile * ACCUMULATOR_BYTES + COUNTER_BYTES
    return target.multiprocessors * block + 3 * COPY_ALIGNMENT_BYTES


def _split_sums(call: ConvCall, target: DeviceTarget) -> int:
    """Return the bytes of a weight gradient's partial sums; 0 where the tiles fill the GPU."""
    rows, columns, *kernel = call.weight_shape
    tiles, elements = call.groups * prod(kernel), 1
    for channels in (rows // call.groups, columns):
        side = TILE_CHANNELS if channels > TILE_CHANNELS // 2 else TILE_CHANNELS // 2
        tiles *= ceil(channels / side)
        elements *= side
    splits = target.multiprocessors // tiles
    if splits < 2:
        return 0
    # The first share of a 16-bit gradient is summed up in registers.
    buffers = splits if call.element_bytes == 4 else splits - 1
    return buffers * tiles * elements * ACCUMULATOR_BYTES
