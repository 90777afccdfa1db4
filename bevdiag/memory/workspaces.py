"""Bytes of the scratch memory that operators ask for beside their outputs."""

from functools import lru_cache
from math import ceil

from bevdiag.memory.catalogue import torch_release
from bevdiag.memory.conv import Backend, conv_backend
from bevdiag.memory.cudnn import cudnn_workspace
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.engines import engine_bytes
from bevdiag.memory.requests import Bound as Bound
from bevdiag.memory.requests import (
    ConvCall,
    GemmWorkspace,
    Request,
    RnnCall,
    StridedReduction,
    WorkspaceBytes,
)

HOPPER_GEMM_WORKSPACE_BYTES = 32 * 1024**2
GEMM_WORKSPACE_BYTES = 2 * 4096 * 1024 + 8 * 16 * 1024
"""cuBLAS's own default, `:4096:2:16:8`."""
BLACKWELL_GEMM_TORCH = (2, 12)
"""First torch taken to give compute capability 10 and 12 Hopper's workspace: pytorch PR 175344 was
made in February 2026, and no release notes at hand say which release carries it."""
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


@lru_cache(maxsize=4096)
def workspace(request: Request, target: DeviceTarget) -> WorkspaceBytes:
    """Return what a request of the event stream asks for on a target."""
    if isinstance(request, ConvCall):
        return conv_workspace(request, target)
    if isinstance(request, RnnCall):
        return rnn_workspace(request)
    if isinstance(request, GemmWorkspace):
        nbytes = gemm_workspace(target, request.thread)
    else:
        nbytes = reduction_buffer(request, target)
    return WorkspaceBytes(nbytes, nbytes, nbytes)


def conv_workspace(call: ConvCall, target: DeviceTarget) -> WorkspaceBytes:
    """Return the workspace of a convolution: as measured on the target, else by rule."""
    choice, profile = conv_backend(call, target.cudnn), target.profile
    optional = is_optional(call, target)
    if profile is not None and call in profile.workspaces and not target.cudnn_benchmark:
        measured = profile.workspaces[call]
        return WorkspaceBytes(measured, measured, measured, optional)
    if choice.backend is not Backend.CUDNN:
        nbytes = 0 if choice.columns is None else choice.columns.nbytes
        return WorkspaceBytes(nbytes, nbytes, nbytes)
    scratch = cudnn_workspace(call, target)
    expected = scratch.expected
    if not (target.cudnn_benchmark or choice.needs_64bit):
        chosen = engine_bytes(call, target, expected)
        expected = min(max(chosen, scratch.low), scratch.high)
    return WorkspaceBytes(scratch.low, expected, scratch.high, optional)


def is_optional(request: Request, target: DeviceTarget) -> bool:
    """Return whether the step goes on where the device cannot give what a request asks for."""
    if not isinstance(request, ConvCall):
        return False
    choice = conv_backend(request, target.cudnn)
    # No engine without a workspace is known to index with 64 bits, and other backends have none.
    return choice.backend is Backend.CUDNN and not choice.needs_64bit


def gemm_workspace(target: DeviceTarget, thread: str) -> int:
    """Return the bytes of the cuBLAS workspace that each thread with matrix products makes once."""
    if target.profile is not None and thread in target.profile.cublas_workspace_bytes:
        return target.profile.cublas_workspace_bytes[thread]
    major = target.compute_capability[0]
    has_blackwell = torch_release(target.torch) >= BLACKWELL_GEMM_TORCH
    is_large = major == 9 or (major in (10, 12) and has_blackwell)
    return HOPPER_GEMM_WORKSPACE_BYTES if is_large else GEMM_WORKSPACE_BYTES


def reduction_buffer(call: StridedReduction, target: DeviceTarget) -> int:
    """Return the bytes of a reduction's buffer, 0 where one thread block suffices.

    Follows `aten/src/ATen/native/cuda/Reduce.cuh` for a strided one: many outputs that lie side by
    side, each reduced over elements far apart, as the mean of a channel of [rows, points,
    channels]. Every block leaves each of its threads' sums in global memory, where the last block
    adds them up; that can be far more than the outputs themselves: 132 MiB for 64 channels on an
    H200.
    """
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


# -- cuDNN's recurrent layers ----------------------------------------------------------------------
#
# What backward needs again, the reserve, holds each layer's activations: an LSTM's four gates and
# its cell, a GRU's six parts, a plain cell's one, and between layers their outputs, with a bit an
# element where dropout is. It is exact in all of some 60 cases measured on an H200 (cuDNN 9.19).
#
# The workspace of an LSTM or a GRU is, for each layer, cuBLAS's 8 MiB and a copy of the weights,
# and for each position of the batch the products with the gates, inputs and outputs: within 3 %
# where the hidden size is at least 200. Smaller ones and plain cells take other kernels, and more.

LIBRARY_BYTES = 8 * 1024**2
ALIGNMENT_BYTES = 256
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
KEPT_PARTS = {"lstm": 5, "gru": 6, "rnn_tanh": 1, "rnn_relu": 1}
LARGE_HIDDEN = 200
MOST = 4
"""Other kernels were seen to take up to so many times the formula."""


def weight_elements(call: RnnCall) -> int:
    """Return the elements of all weights, biases left out."""
    first = call.inputs + call.hidden
    others = (call.layers - 1) * (call.directions + 1) * call.hidden
    return call.directions * GATES[call.kind] * call.hidden * (first + others)


def bias_elements(call: RnnCall) -> int:
    """Return the elements of both biases of each gate."""
    return 2 * call.layers * call.directions * GATES[call.kind] * call.hidden


def reserve_bytes(call: RnnCall) -> int:
    """Return what lives from the forward to the backward pass."""
    states = call.steps * call.batch * call.hidden * call.directions
    parts = call.layers * KEPT_PARTS[call.kind] + call.layers - 1
    nbytes = states * parts * call.element_bytes + ALIGNMENT_BYTES
    if call.has_dropout:
        nbytes += (call.layers - 1) * states // 8
    return nbytes


def rnn_workspace(call: RnnCall) -> WorkspaceBytes:
    """Return the workspace of the forward call, and of each of the two backward calls."""
    hidden, inputs = call.hidden, call.inputs
    if call.kind == "gru":
        width = 4 * hidden + (2 if call.layers == 1 else 1) * inputs
        width += hidden if inputs > hidden else 0
        held = 5 * hidden
    else:
        width = 5 * hidden + (2 if inputs > hidden else 1) * inputs
        held = 10 * hidden
    per_sample = call.directions * (call.steps * width + call.layers * held)
    batch = call.batch * (per_sample * call.element_bytes + 8)
    libraries = call.layers * call.directions * LIBRARY_BYTES
    expected = libraries + weight_elements(call) * call.element_bytes + batch + ALIGNMENT_BYTES
    if call.has_dropout:
        # Outputs before their dropout.
        expected += call.steps * call.batch * hidden * call.directions * call.element_bytes
    is_known = call.kind in ("lstm", "gru") and hidden >= LARGE_HIDDEN
    slack = expected * 3 // 100
    low = expected - slack if is_known and call.directions == 1 else 0
    return WorkspaceBytes(low, expected, expected + slack if low else MOST * expected)
