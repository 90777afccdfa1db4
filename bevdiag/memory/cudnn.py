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
as many blocks a tile as the multiprocessors allow. cuDNN's heuristics choose otherwise at times, so
the upper bound is what the hardware allows: partial sums are accumulated in registers, and one
block or several, a multiprocessor has no more than its register file. Weight gradients with one
narrow side, or with more offsets than 3x3 has, were seen to be summed in several rounds; each
multiprocessor then has a share of the pixels and a whole gradient of its own.

Without tensor cores (fp32 before TF32) nothing is copied; a 3x3 weight gradient goes through
Winograd's F(4x4, 3x3), whose transformed operands are the workspace.

With `cudnn.benchmark` the fastest of all algorithms that fit is taken. What it asks for was seen to
stay within the same bounds, but may be nothing; the much larger workspaces that are tried (FFTs')
live in the first step alone, shrink to what is free, and are given back to CUDA.

Held against what cuDNN 9.19 asked an H200 for, in some 6,400 cases (configs/devices). What was not
measured has the lower bound 0. Which engine a call that was not measured takes is expected of those
that were (engines.py).

Older versions have more ways, held against 9,645 calls of 8.9.2 and 9,660 of 9.1.0. Which of their
engines is taken, heuristics decide; so each of them only widens the interval. Of the versions
between 9.1 and 9.19, none was measured: those that torch ships before 9.5 are taken to be like 9.1,
the others like 9.19.
"""

from collections.abc import Mapping
from math import ceil, log2, prod

from bevdiag.memory.allocator import round_up
from bevdiag.memory.conv import INT32_MAX
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.profiles import FIRST_NINE, LIKE_THE_NEWEST
from bevdiag.memory.requests import ConvCall, WorkspaceBytes

VECTOR_BYTES = 16
"""Channels-last kernels load channels in vectors of 16 bytes: 4 of fp32, 8 of fp16."""
COPY_ALIGNMENT_BYTES = 128
"""Each copy starts at such a boundary."""
COUNTER_BYTES = 4
"""A thread block's semaphore where blocks share a tile."""
FLOAT_BYTES = 4
"""Partial sums and transforms are fp32."""
TILE_CHANNELS = 128
NARROW_ROUNDS_OFFSETS = 9
"""Kernels with more offsets than 3x3 sum their weight gradient in several rounds."""
FEW_OUTPUTS = 16
"""Up to so many outputs a float32 1x1 weight's gradient is no product a sample."""
SMALL_KERNEL_OFFSETS = 16
"""Convolutions over images up to 4x4 were seen to copy nothing, larger ones to copy all."""
GROUP_CHANNELS = 64
"""Kernels for grouped convolutions work on so many channels; narrower groups are padded."""
REGISTER_FILE_BYTES = 65536 * 4
"""Partial sums of one multiprocessor: they are accumulated in registers, and it has no more."""
WINOGRAD_BATCH, WINOGRAD_CHANNELS = 16, 32
"""Where 16-bit input gradients of 32 channels go through Winograd, it pads the batch to 16."""
TENSOR_CORE_HALF = (7, 0)
TENSOR_CORE_FP32 = (8, 0)
"""First compute capabilities with fp16 and with TF32 tensor cores."""
MEASURED_CAPABILITY = (9, 0)
MEASURED_CHANNELS = 64
MEASURED_POSITIONS = 10_000
"""The measured kernels had at least so many channels on both sides, and output positions."""
CUBLAS_BYTES = 128 * 1024**2
"""That workspace, seen to be the same whatever the shapes were."""
WINOGRAD_OUTPUT, WINOGRAD_TILE = 4, 6
"""F(4x4, 3x3) turns every 4 x 4 outputs into 6 x 6 products."""
LARGE_KERNEL = 5
"""Fourier transforms were seen for kernels of 5x5 and 7x7."""
COMPLEX_BYTES = 8


def cudnn_workspace(call: ConvCall, target: DeviceTarget) -> WorkspaceBytes:
    """Return the workspace of a convolution that goes through cuDNN."""
    if max(prod(call.input_shape[1:]), prod(call.output_shape[1:])) > INT32_MAX:
        return _with_64_bit_indices(call)
    most_copies = sum(copies_of(call, group_channels=GROUP_CHANNELS).values())
    most_sums = _most_partial_sums(call, target) + 3 * COPY_ALIGNMENT_BYTES
    bounds = _heuristic(call, target, most_copies + most_sums)
    expected = bounds.expected
    high = max(bounds.high, older_high(call, target.cudnn, most_copies, most_sums))
    if not target.cudnn_benchmark:
        # What the H200's profile of the newest cuDNN was never under, older ones were.
        low = bounds.low if target.cudnn >= LIKE_THE_NEWEST else 0
        return WorkspaceBytes(low, expected, high)
    if target.profile is not None:
        seen = target.profile.benchmarked.get(call)
        expected = target.profile.workspaces.get(call, expected)
        expected = expected if seen is None else seen.steady_bytes
    return WorkspaceBytes(0, expected, max(expected, high))


def _heuristic(call: ConvCall, target: DeviceTarget, high: int) -> WorkspaceBytes:
    """Bound the workspace by the rules of 9.19; `high` is what copies and sums take at most."""
    copies = copies_of(call)
    copied = sum(copies.values())
    sums = _partial_sums(call, target) if call.direction == "wgrad" else 0
    if call.channels_last:
        # Nearly always nothing is copied; where channels are few or grouped, all operands may be.
        return WorkspaceBytes(0, sums, max(sums, high))
    if not has_tensor_cores(call, target):
        is_plain = call.direction == "wgrad" and call.groups == 1
        transformed = winograd(call) if is_plain else 0
        return WorkspaceBytes(0, transformed, max(high, transformed))
    if prod(call.weight_shape[2:]) == 1:
        expected = _pointwise(call, copies, target)
        return WorkspaceBytes(0, min(expected, high), high)
    if _has_few_inputs(call):
        plain = _of_images(call, target)
        return WorkspaceBytes(0, plain, max(high, plain))
    low = copied if _is_measured(call, target) else 0
    # The input gradient of a transposed convolution runs as a forward pass.
    is_forward = call.direction == ("dgrad" if call.transposed else "forward")
    if low and is_forward and call.element_bytes == 4:
        low -= copies[_WRITTEN[call.direction]]
    return WorkspaceBytes(low, copied + sums, max(high, _padded_winograd(call)))


def _has_few_inputs(call: ConvCall) -> bool:
    """Whether it is a plain convolution over images: fewer channels than a float32 vector holds."""
    vector = VECTOR_BYTES // call.element_bytes
    return call.element_bytes == 4 and call.groups == 1 and call.weight_shape[1] < vector


def _of_images(call: ConvCall, target: DeviceTarget) -> int:
    """Return the copies of a convolution over images, which pad no channels; small kernels none."""
    if prod(call.weight_shape[2:]) <= SMALL_KERNEL_OFFSETS:
        return 0
    sums = _tiled_sums(call, target) if call.direction == "wgrad" else 0
    return sums + call.element_bytes * sum(
        map(prod, (call.input_shape, call.weight_shape, call.output_shape))
    )


def _pointwise(call: ConvCall, copies: Mapping[str, int], target: DeviceTarget) -> int:
    """Return what a 1x1 kernel takes: nothing where it is one matrix product a sample.

    It is none where it leaves positions out, nor where the samples' rows do not start at the
    boundaries that vectors are loaded from, nor for a float32 weight's gradient that has few
    outputs or fits a single tile, nor with too many elements for 32 bits in the whole batch, though
    not in a sample. Then its operands are copied; the weight has no layout.
    """
    staged = copies["input"] + copies["output"]
    if max(prod(call.input_shape), prod(call.output_shape)) > INT32_MAX:
        return sum(copies.values())
    is_wgrad = call.direction == "wgrad"
    row_bytes = call.element_bytes * prod(call.output_shape[2:])
    is_product = all(step == 1 for step in call.stride)
    if prod(call.output_shape[2:]) == 1:
        return 0  # the samples are rows of one matrix
    if is_product and call.input_shape[0] > 1 and row_bytes % VECTOR_BYTES:
        return staged + (_tiled_sums(call, target) if is_wgrad else 0)
    if not is_wgrad:
        return 0
    rows, columns = call.weight_shape[:2]
    if call.input_shape[0] > 1 and call.element_bytes == 4 and rows <= FEW_OUTPUTS:
        return staged
    is_one_tile = max(rows, columns) <= TILE_CHANNELS // 2 and call.element_bytes == 4
    if not is_product or (call.input_shape[0] > 1 and is_one_tile):
        return staged + _tiled_sums(call, target)
    return _partial_sums(call, target)


def _with_64_bit_indices(call: ConvCall) -> WorkspaceBytes:
    copies = copies_of(call, samples=call.input_shape[0])
    if prod(call.weight_shape[2:]) == 1:
        del copies["weight"]  # it has no layout, so it is the one operand that needs no copy
    nbytes = sum(copies.values()) + COPY_ALIGNMENT_BYTES * len(copies)
    return WorkspaceBytes(nbytes, nbytes, nbytes)


_WRITTEN = {"forward": "output", "dgrad": "input", "wgrad": "weight"}
"""The operand that a direction writes."""


def copies_of(
    call: ConvCall, *, samples: int | None = None, group_channels: int = 1
) -> dict[str, int]:
    """Return the bytes of the channels-last copies, by operand.

    Args:
        call: the convolution.
        samples: how many are copied; None for as many as run at once.
        group_channels: what the channels of each group are padded to, where there are groups.
    """
    element, groups = call.element_bytes, call.groups
    batch, inputs, *in_space = call.input_shape
    outputs, *out_space = call.output_shape[1:]
    rows, columns, *kernel = call.weight_shape
    multiple = group_channels if 1 < groups < inputs else 1
    if groups == 1:
        multiple = max(1, VECTOR_BYTES // element)
    inputs, outputs, rows = (
        groups * round_up(channels // groups, multiple) for channels in (inputs, outputs, rows)
    )
    if samples is None:
        # A batch beyond 32-bit indices runs in parts of as many samples as they can tell apart.
        largest = max(inputs * prod(in_space), outputs * prod(out_space), 1)
        samples = min(batch, max(1, INT32_MAX // largest))
    return {
        "input": element * samples * inputs * prod(in_space),
        "weight": element * rows * round_up(columns, multiple) * prod(kernel),
        "output": element * samples * outputs * prod(out_space),
    }


def has_tensor_cores(call: ConvCall, target: DeviceTarget) -> bool:
    """Return whether the GPU multiplies the call's type with tensor cores."""
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


def _most_partial_sums(call: ConvCall, target: DeviceTarget) -> int:
    """Return the most that partial sums can take: what the multiprocessors can hold at once.

    Groups are products of their own and may follow one another; those of a depthwise convolution,
    one channel each, are not tensor-core products.
    """
    rounds = call.groups if call.weight_shape[1] > 1 else 1
    held = rounds * target.multiprocessors * (REGISTER_FILE_BYTES + COUNTER_BYTES)
    if call.direction != "wgrad":
        return held
    kernel = prod(call.weight_shape[2:])
    narrow = min(call.weight_shape[:2]) <= TILE_CHANNELS // 2
    if kernel <= NARROW_ROUNDS_OFFSETS and not narrow:
        return held
    multiple = GROUP_CHANNELS if call.groups > 1 else 1
    gradient = call.weight_shape[0] * round_up(call.weight_shape[1], multiple) * kernel
    return max(held, target.multiprocessors * (gradient * FLOAT_BYTES + COUNTER_BYTES))


def _partial_sums(call: ConvCall, target: DeviceTarget) -> int:
    """Return the bytes of a weight gradient's partial sums; 0 where the tiles fill the GPU."""
    kernel = call.weight_shape[2:]
    batch = call.input_shape[0]
    if prod(kernel) == prod(call.output_shape[2:]) == 1:
        # With one position a sample, the samples' channels are a matrix: a single product.
        return 0
    if prod(kernel) == 1 and batch > 1:
        # One matrix product a sample, added up afterwards.
        return batch * prod(call.weight_shape) * FLOAT_BYTES
    return _tiled_sums(call, target)


def _tiled_sums(call: ConvCall, target: DeviceTarget) -> int:
    """Return the partial sums where several thread blocks share each tile of the gradient."""
    channels = (call.weight_shape[0] // call.groups, call.weight_shape[1])
    rows, columns = (
        TILE_CHANNELS if each > TILE_CHANNELS // 2 else TILE_CHANNELS // 2 for each in channels
    )
    # The first share of a 16-bit gradient is summed up in registers.
    kept = 0 if call.element_bytes == 4 else 1
    return shared_tiles(call, rows, columns, target.multiprocessors, kept)


def shared_tiles(call: ConvCall, rows: int, columns: int, multiprocessors: int, kept: int) -> int:
    """Return the bytes of tiles that as many blocks share as the GPU runs, `kept` in registers."""
    outputs, inputs, *kernel = call.weight_shape
    tiles = call.groups * prod(kernel) * ceil(outputs / call.groups / rows) * ceil(inputs / columns)
    shares = multiprocessors // tiles
    return 0 if shares < 2 else (shares - kept) * tiles * rows * columns * FLOAT_BYTES


def _padded_winograd(call: ConvCall) -> int:
    """Return what Winograd takes of a 16-bit input gradient with groups of 32 channels, else 0."""
    outputs, inputs = call.weight_shape[0] // call.groups, call.weight_shape[1]
    is_narrow = max(inputs, outputs) <= WINOGRAD_CHANNELS
    is_half = call.direction == "dgrad" and call.element_bytes == 2
    if not (is_narrow and is_half and is_plain_3x3(call)):
        return 0
    samples = round_up(call.output_shape[0], WINOGRAD_BATCH)
    return call.groups * winograd_bytes(call, samples, inputs, outputs)


def older_high(call: ConvCall, cudnn: tuple[int, int, int], copies: int, sums: int) -> int:
    """Return the most that an older cuDNN asks for, 0 for one that is not older.

    Args:
        call: the convolution.
        cudnn: the version that runs it.
        copies: bytes of its operands laid out channels-last.
        sums: the most that its partial sums take.
    """
    if cudnn >= LIKE_THE_NEWEST:
        return 0
    found = [0]
    kernel = call.weight_shape[2:]
    is_gradient = call.direction == "wgrad"
    is_old = cudnn < FIRST_NINE
    if call.element_bytes < FLOAT_BYTES and (is_gradient or is_old or max(kernel) >= LARGE_KERNEL):
        found.append(float_copies(call) + sums)
    if is_gradient:
        # A gradient of its own for each sample, added up afterwards.
        products = call.input_shape[0] * prod(call.weight_shape) * FLOAT_BYTES
        found += [winograd(call) + sums, copies + sums + products]
    if max(kernel) >= LARGE_KERNEL and call.element_bytes == FLOAT_BYTES:
        found.append(fourier(call) + copies + sums)
    if is_old and prod(kernel) == 1:
        found.append(CUBLAS_BYTES + copies + sums)
    return max(found)


def float_copies(call: ConvCall) -> int:
    """Operands and result in float32: a 16-bit convolution without a kernel of its own."""
    shapes = (call.input_shape, call.output_shape, call.weight_shape)
    return FLOAT_BYTES * sum(map(prod, shapes))


def winograd(call: ConvCall) -> int:
    """Count the transformed operands of a 3x3 weight gradient; 0 for others."""
    if not is_plain_3x3(call):
        return 0
    return winograd_bytes(call, call.output_shape[0], call.input_shape[1], call.output_shape[1])


def is_plain_3x3(call: ConvCall) -> bool:
    """Whether a kernel of 3x3 meets all positions."""
    steps = (*call.stride, *call.dilation)
    return (
        call.weight_shape[2:] == (3, 3) and not call.transposed and all(step == 1 for step in steps)
    )


def winograd_bytes(call: ConvCall, samples: int, inputs: int, outputs: int) -> int:
    """Count the transformed operands of so many samples and channels."""
    tiles = samples * prod(ceil(size / WINOGRAD_OUTPUT) for size in call.output_shape[2:])
    products = tiles * (inputs + outputs) + inputs * outputs
    return WINOGRAD_TILE**2 * products * FLOAT_BYTES


def fourier(call: ConvCall) -> int:
    """Count the transforms of the maps and of each weight, two for each; 0 without two axes.

    A side is rounded up to a power of two; of its numbers symmetry leaves half and one.
    """
    if len(call.input_shape) != 4:
        return 0
    height, width = (
        1 << ceil(log2(size + kernel - 1))
        for size, kernel in zip(call.input_shape[2:], call.weight_shape[2:], strict=True)
    )
    inputs, outputs = call.input_shape[1], call.output_shape[1]
    maps = call.input_shape[0] * (inputs + outputs) + 2 * inputs * outputs
    return height * (width // 2 + 1) * maps * COMPLEX_BYTES
