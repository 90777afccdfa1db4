"""Sums and means along axes, and normalizations that want their rows dense.

Where the axes that stay lie innermost in memory (a bias's gradient over the rows of a batch, a
channels-last map's mean), many thread blocks share each output and leave their sums in a buffer.
Sources: aten/src/ATen/native/cuda/{Reduce.cuh,layer_norm_kernel.cu}, ReduceOpsUtils.h.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from bevdiag.memory.events import Category
from bevdiag.memory.requests import StridedReduction
from bevdiag.trace.recorder import Recorder

_SUM_BYTES = 4
"""Sums of float32, float16 and bfloat16 are kept in float32."""


def summed(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Run a sum or a mean along axes.

    Masks and narrow integers are copied to the type in which they are summed, after the result is
    made (make_reduction in ReduceOpsUtils.h, impl_func_cum_ops in ReduceOps.cpp).
    """
    result = recorder.run(func, args, kwargs)
    data = args[0]
    if not recorder.is_device(data):
        return result
    if not data.is_floating_point():
        if data.dtype != result.dtype:
            recorder.scratch(data.numel() * result.element_size(), str(func))
    elif len(args) > 1 and isinstance(args[1], (list, tuple)):
        sum_over(recorder, data, args[1], str(func))
    return result


def sum_over(recorder: Recorder, data: torch.Tensor, axes: Sequence[int], op: str) -> None:
    """Record the buffer of a sum along some axes, after its result."""
    along = {axis % data.dim() for axis in axes or range(data.dim())}
    sizes = [(data.shape[axis], data.stride(axis), axis in along) for axis in range(data.dim())]
    summed_strides = [stride for size, stride, is_summed in sizes if is_summed and size > 1]
    kept_strides = [stride for size, stride, is_summed in sizes if not is_summed and size > 1]
    # Of an expanded tensor nothing lies side by side.
    if not summed_strides or not kept_strides or min(summed_strides) <= max(kept_strides):
        return
    outputs = prod(size for size, _, is_summed in sizes if not is_summed)
    call = StridedReduction(outputs, data.numel() // max(outputs, 1), _SUM_BYTES)
    recorder.scratch(0, op, Category.WORKSPACE, call)


def layer_norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Forward and backward copy what is not dense for the length of the call."""
    copies = [
        block
        for tensor in args[:2]
        if isinstance(tensor, torch.Tensor) and recorder.is_device(tensor)
        for block in recorder.dense_copy(tensor)
    ]
    outputs = recorder.run(func, args, kwargs)
    recorder.release(*copies)
    return outputs
