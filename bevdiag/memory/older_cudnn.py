"""What older cuDNN were seen to ask for beyond the rules of 9.19: upper ends, by mechanism.

Held against 9,645 calls of 8.9.2 and 9,660 of 9.1.0 on an H200 (configs/devices). Which of these
engines is taken, its heuristics decide; so each of them only widens the interval. Of the versions
between 9.1 and 9.19, none was measured: those that torch ships before 9.5 are taken to be like
9.1, the others like 9.19.
"""

from math import ceil, log2, prod

from bevdiag.memory.requests import ConvCall

LIKE_THE_NEWEST = (9, 5, 0)
"""From here on, the rules of `cudnn.py` are taken to hold as they do for 9.19."""
FIRST_NINE = (9, 0, 0)
"""Before this version a pointwise convolution may be handed to cuBLAS, with a workspace of its
own."""
CUBLAS_BYTES = 128 * 1024**2
"""That workspace, seen to be the same whatever the shapes were."""
FLOAT_BYTES = 4
WINOGRAD_OUTPUT, WINOGRAD_TILE = 4, 6
"""F(4x4, 3x3) turns every 4 x 4 outputs into 6 x 6 products."""
LARGE_KERNEL = 5
"""Fourier transforms were seen for kernels of 5x5 and 7x7."""
COMPLEX_BYTES = 8


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
