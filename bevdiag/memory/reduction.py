"""The buffer of a reduction that is spread over more than one thread block.

Follows `aten/src/ATen/native/cuda/Reduce.cuh` for a strided one: many outputs that lie side by
side, each reduced over elements far apart, as the mean of a channel of [rows, points, channels].
Every block leaves each of its threads' sums in global memory, where the last block adds them up;
that can be far more than the outputs themselves: 132 MiB for 64 channels on an H200.
"""

from math import ceil

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.requests import StridedReduction

MAX_THREADS = 512
WARP_SIZE = 32
MAX_VECTOR = 4
MIN_VALUES_PER_THREAD = 16
MAX_VALUES_PER_THREAD = 256
THREADS_PER_MULTIPROCESSOR = 2048
"""Resident at once, where `FEWER_THREADS` does not say otherwise (CUDA C++ Programming Guide)."""
FEWER_THREADS = {
    (7, 5): 1024,
    **dict.fromkeys(((8, 6), (8, 7), (8, 9), (12, 0), (12, 1)), 1536),
}


def reduction_buffer(call: StridedReduction, target: DeviceTarget) -> int:
    """Return the bytes of the buffer, 0 where one block suffices."""
    if not call.outputs or not call.inputs_per_output:
        return 0
    vector = next(v for v in (MAX_VECTOR, 2, 1) if call.outputs % v == 0)
    width, height = _block(call, vector)
    if call.inputs_per_output < min(height * MIN_VALUES_PER_THREAD, MAX_VALUES_PER_THREAD):
        return 0
    values_per_thread = ceil(call.inputs_per_output / height)
    grid = ceil(call.outputs / vector / width)
    threads = FEWER_THREADS.get(target.compute_capability, THREADS_PER_MULTIPROCESSOR)
    blocks = target.multiprocessors * (threads // (width * height))
    if values_per_thread < MAX_VALUES_PER_THREAD or grid > blocks:
        return 0
    per_output = max(
        min(ceil(blocks / grid), ceil(values_per_thread / MIN_VALUES_PER_THREAD)),
        ceil(values_per_thread / MAX_VALUES_PER_THREAD),
    )
    if per_output < 2:
        return 0
    return call.accumulator_bytes * call.outputs * per_output * width * vector


def _block(call: StridedReduction, vector: int) -> tuple[int, int]:
    """Threads of a block along the outputs and along what is reduced."""
    most = MAX_THREADS // vector
    outputs = min(_power_of_two(call.outputs // vector), most)
    inputs = min(_power_of_two(call.inputs_per_output), most)
    height = min(inputs, most // min(outputs, WARP_SIZE))
    return min(outputs, most // height), height


def _power_of_two(count: int) -> int:
    """Return the largest power of two that is not above `count` > 0."""
    return 1 << (count.bit_length() - 1)
