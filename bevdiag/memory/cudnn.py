"""Workspace of a convolution that cuDNN runs.

cuDNN's tensor-core kernels want channels-last operands. PyTorch hands it NCHW tensors, so the
workspace holds a channels-last copy of each operand (`nchwToNhwcKernel` in a profile): input,
weight and output alike, whichever of them the direction reads or writes. Channels are padded to
the 16 bytes that such a kernel loads at once. Some TF32 kernels write NCHW themselves
(`nhwckrsc_nchw` in their name) and leave their result's copy out. A 1x1 kernel is a matrix product
over NCHW as it stands and copies nothing, unless indices need 64 bits.

On top, a kernel that gives several thread blocks a share of one output tile keeps their partial
sums in fp32. Weight gradients do so as a rule, because their output is small and their sums run
over all pixels: tiles of 128 x 128 (64 where there are no more channels) channels a kernel offset,
as many blocks a tile as the multiprocessors allow. cuDNN's heuristics choose other tiles at times,
so the upper bound is what the hardware allows: one block a multiprocessor, one tile a block.

Without tensor cores (fp32 before TF32) nothing is copied; a 3x3 weight gradient goes through
Winograd's F(4x4, 3x3), whose transformed operands are the workspace.

Held against what cuDNN 9.19 asked an H200 for, in some 2,000 cases (tests/memory/data). What was
not measured has the lower bound 0.
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
SHORT_SUM, LONG_SUM = 1024, 2048
"""Where the choice of kernel was seen to change: below 1152 and above 1152 summands."""
MAX_TILE_ELEMENTS = 128 * 256
"""The largest accumulator tile of one thread block."""
WINOGRAD_OUTPUT, WINOGRAD_TILE = 4, 6
"""F(4x4, 3x3) turns every 4 x 4 outputs into 6 x 6 products."""
TENSOR_CORE_HALF = (7, 0)
TENSOR_CORE_FP32 = (8, 0)
"""First compute capabilities with fp16 and with TF32 tensor cores."""
MEASURED_CAPABILITY = (9, 0)
MEASURED_CHANNELS = 64
MEASURED_POSITIONS = 10_000
"""The measured kernels had at least so many channels on both sides, and output positions."""


@dataclass(frozen=True, slots=True)
class CudnnBytes:
    """Bounds and the most likely size of cuDNN's workspace."""

    low: int
    expected: int
    high: int


def cudnn_workspace(call: ConvCall, target: DeviceTarget) -> CudnnBytes:
    """Return the workspace of a convolution that goes through cuDNN."""
    copies = _Copies.of(call)
    is_pointwise = prod(call.weight_shape[2:]) == 1
    elements = max(prod(call.input_shape[1:]), prod(call.output_shape[1:]))
    if elements > INT32_MAX:
        return _with_64_bit_indices(copies, is_pointwise=is_pointwise)
    shared = target.multiprocessors * (MAX_TILE_ELEMENTS * ACCUMULATOR_BYTES + COUNTER_BYTES)
    high = copies.total + shared + 3 * COPY_ALIGNMENT_BYTES
    sums = _partial_sums(call, target) if call.direction == "wgrad" else 0
    if call.channels_last:
        return CudnnBytes(0, sums, copies.weight + shared + 3 * COPY_ALIGNMENT_BYTES)
    if not _has_tensor_cores(call, target):
        winograd = _winograd(call)
        return CudnnBytes(0, winograd, max(high, winograd))
    if is_pointwise:
        # Too many elements for 32 bits in the whole batch, though not in a sample, need copies.
        # A product a sample pays for samples with many positions, never beyond the upper bound.
        expected = copies.total if call.input_shape[0] * elements > INT32_MAX else min(sums, high)
        return CudnnBytes(0, expected, max(expected, high))
    result = 0 if _writes_nchw(call) else copies.result(call)
    staged = copies.total - copies.result(call)
    low = 0
    if _is_measured(call, target):
        low = staged if _is_forward_product(call) and call.element_bytes == 4 else copies.total
    return CudnnBytes(low, staged + result + sums, high)


def _with_64_bit_indices(copies: "_Copies", *, is_pointwise: bool) -> CudnnBytes:
    # A pointwise weight has no layout, so it is the one operand that needs no copy.
    operands = (copies.input, copies.output, *(() if is_pointwise else (copies.weight,)))
    nbytes = sum(operands) + COPY_ALIGNMENT_BYTES * len(operands)
    return CudnnBytes(nbytes, nbytes, nbytes)


@dataclass(frozen=True, slots=True)
class _Copies:
    """Bytes of the channels-last copies."""

    input: int
    weight: int
    output: int

    @property
    def total(self) -> int:
        return self.input + self.weight + self.output

    def result(self, call: ConvCall) -> int:
        """Return the copy that the direction writes."""
        by_direction = {"forward": self.output, "dgrad": self.input, "wgrad": self.weight}
        return by_direction[call.direction]

    @classmethod
    def of(cls, call: ConvCall) -> "_Copies":
        element = call.element_bytes
        vector = max(1, VECTOR_BYTES // element) if call.groups == 1 else 1
        batch, inputs, *in_space = call.input_shape
        outputs, *out_space = call.output_shape[1:]
        rows, columns, *kernel = call.weight_shape
        # A batch beyond 32-bit indices runs in parts of as many samples as they can tell apart.
        largest = max(inputs * prod(in_space), outputs * prod(out_space), 1)
        samples = min(batch, max(1, INT32_MAX // largest))
        return cls(
            input=element * samples * _pad(inputs, vector) * prod(in_space),
            weight=element * _pad(rows, vector) * _pad(columns, vector) * prod(kernel),
            output=element * samples * _pad(outputs, vector) * prod(out_space),
        )


def _pad(channels: int, multiple: int) -> int:
    return ceil(channels / multiple) * multiple


def _has_tensor_cores(call: ConvCall, target: DeviceTarget) -> bool:
    needed = TENSOR_CORE_HALF if call.element_bytes == 2 else TENSOR_CORE_FP32
    return call.element_bytes in (2, 4) and target.compute_capability >= needed


def _is_measured(call: ConvCall, target: DeviceTarget) -> bool:
    # Kernels of 3 x 3, and of 2 x 2 and 4 x 4 as upsampling takes them.
    kernels = ((2, 2), (4, 4)) if call.transposed else ((3, 3),)
    return (
        target.compute_capability == MEASURED_CAPABILITY
        and call.groups == 1
        and call.weight_shape[2:] in kernels
        and min(call.weight_shape[:2]) >= MEASURED_CHANNELS
        and call.output_shape[0] * prod(call.output_shape[2:]) >= MEASURED_POSITIONS
        and call.input_shape[0] * prod(call.input_shape[2:]) >= MEASURED_POSITIONS
    )


def _is_forward_product(call: ConvCall) -> bool:
    """Whether cuDNN runs it as a forward pass: the input gradient of a transposed one is one."""
    return call.direction == ("dgrad" if call.transposed else "forward")


def _writes_nchw(call: ConvCall) -> bool:
    """Whether cuDNN is expected to take a TF32 kernel that writes NCHW itself.

    Such kernels have tiles of 128 or 64 output channels. cuDNN 9.19 was seen to prefer them where
    one tile holds all output channels, and the sum over inputs is short for the wide tile or long
    for the narrow one.
    """
    if call.element_bytes != 4 or not _is_forward_product(call):
        return False
    outputs, inputs, *kernel = call.weight_shape
    summands = inputs * prod(kernel)
    if TILE_CHANNELS // 2 < outputs <= TILE_CHANNELS:
        return summands <= SHORT_SUM
    return TILE_CHANNELS // 4 < outputs <= TILE_CHANNELS // 2 and summands >= LONG_SUM


def _partial_sums(call: ConvCall, target: DeviceTarget) -> int:
    """Return the bytes of a weight gradient's partial sums; 0 where the tiles fill the GPU."""
    rows, columns, *kernel = call.weight_shape
    batch = call.input_shape[0]
    if prod(kernel) == 1 and batch > 1:
        # One matrix product a sample, added up afterwards.
        return batch * prod(call.weight_shape) * ACCUMULATOR_BYTES
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


def _winograd(call: ConvCall) -> int:
    """Return the transformed operands of a 3x3 weight gradient without tensor cores, else 0."""
    is_winograd = (
        call.direction == "wgrad"
        and call.weight_shape[2:] == (3, 3)
        and call.groups == 1
        and not call.transposed
        and all(step == 1 for step in (*call.stride, *call.dilation))
    )
    if not is_winograd:
        return 0
    outputs, inputs = call.weight_shape[:2]
    tiles = call.output_shape[0] * prod(
        ceil(size / WINOGRAD_OUTPUT) for size in call.output_shape[2:]
    )
    products = tiles * (inputs + outputs) + inputs * outputs
    return WINOGRAD_TILE**2 * products * ACCUMULATOR_BYTES
