"""Operations whose allocations on a GPU differ from what the dispatch of meta tensors shows."""

from typing import Any

import torch
from torch._prims_common import suggest_memory_format

from bevdiag.memory.events import Category
from bevdiag.memory.requests import StridedReduction
from bevdiag.trace import convolution, indexing, sorting
from bevdiag.trace.accumulation import accumulate, scatter_into_zeros, sole_owner_counts
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder, Rule
from bevdiag.trace.shapes import outputs_of

aten = torch.ops.aten
_MEAN_AND_VARIANCE_BYTES = 16
"""WelfordData in float32: mean, sum of squares and two counts."""
CUBLASLT_WORKSPACE_BYTES = 1024 * 1024
"""PyTorch's default (_getWorkspaceSize in CUDABlas.cpp), seen with 2.11 on an H200."""


def _item(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    source = args[0]
    question = recorder.asked("number", source)
    if not source.is_meta:
        return func(*args, **kwargs)
    supplier = recorder.values
    if source.dtype is torch.bool:
        return supplier.branch(source, question)
    if source.is_floating_point():
        answer = supplier.copied(source, question)
        return 1.0 if answer is None else float(answer)
    return supplier.size(source, question)


def _equal(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    left, right = args
    if left.shape != right.shape:
        return False
    if not left.is_meta and not right.is_meta:
        same = func(left, right)
        recorder.asked("number", torch.tensor(same))
        return same
    unknown = torch.empty((), dtype=torch.bool, device="meta")
    return recorder.values.branch(unknown, recorder.values.question("number"))


def _host_number(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    # The right side of `x[...] = 0.5`: PyTorch makes it on the host where x is a CUDA tensor.
    number = func(*args, **kwargs)
    recorder.hide(number)
    return number


def _gemm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    inputs = [a for a in args if isinstance(a, torch.Tensor)]
    if any(map(recorder.is_device, inputs)) and any(t.is_floating_point() for t in inputs):
        recorder.gemm(str(func))
        # A product with a bias goes through cuBLASLt, which has a workspace of its own.
        if func is aten.addmm.default and args[0].dim() == 1 and min(args[1].shape) > 1:
            recorder.once("cuBLASLt", CUBLASLT_WORKSPACE_BYTES, str(func))
    return recorder.run(func, args, kwargs)


def _softmax(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    # After the result is made, a strided input is copied (host_softmax in SoftMax.cu), and going
    # back grad * output is formed beside it (softmax_backward_cuda_out).
    outputs = recorder.run(func, args, kwargs)
    data, is_backward = args[0], func is aten._softmax_backward_data.default
    if recorder.is_device(data) and (is_backward or not data.is_contiguous()):
        recorder.scratch(data.nbytes, str(func))
    return outputs


def _batch_norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    # A strided input's statistics are a plain reduction (Normalization.cu, Impl::General).
    data, is_training = args[0], args[5]
    outputs = recorder.run(func, args, kwargs)
    layout = suggest_memory_format(data)
    if data.is_meta and is_training and not data.is_contiguous(memory_format=layout):
        channels = data.shape[1]
        call = StridedReduction(channels, data.numel() // channels, _MEAN_AND_VARIANCE_BYTES)
        buffer = recorder.temporary(0, str(func), Category.WORKSPACE, call)
        recorder.release(buffer)
    return outputs


def _batch_norm_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    # On meta tensors PyTorch makes what no one wants, too. The fused kernel's gradient is dense,
    # however the input is strided (Normalization.cuh).
    args, kwargs = recorder.on_one_lane(args, kwargs)
    data, wanted = args[1], args[9]
    made = zip(outputs_of(func, args, kwargs), wanted, strict=True)
    found, *statistics = (output if is_wanted else None for output, is_wanted in made)
    strided = not data.is_contiguous(memory_format=suggest_memory_format(data))
    if found is not None and data.is_meta and strided:
        found = torch.empty_like(found, memory_format=torch.contiguous_format)
    recorder.record_outputs((found, *statistics), str(func), [data], kwargs)
    return found, *statistics


def _dropout(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    # The mask comes first (Dropout.cu).
    inputs = [args[0]]
    result, mask = func(*args, **kwargs)
    recorder.record_outputs((mask, result), str(func), inputs, kwargs)
    return result, mask


def _max_pool(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    # Forward and backward want their tensors dense; the copies are made after the results
    # (DilatedMaxPool2d.cu). A gradient is laid out as the input is.
    outputs = recorder.run(func, args, kwargs)
    tensors = [a for a in args[:2] if isinstance(a, torch.Tensor) and recorder.is_device(a)]
    layout = suggest_memory_format(tensors[-1]) if tensors else torch.contiguous_format
    recorder.release(*(b for tensor in tensors for b in recorder.dense_copy(tensor, layout)))
    return outputs


def _roll(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    # One axis after the other, each into a tensor of its own (TensorTransformations.h).
    data, shifts = args[0], args[1]
    steps = len(shifts) - 1 if isinstance(shifts, (list, tuple)) else 0
    if not recorder.is_device(data) or not steps:
        return recorder.run(func, args, kwargs)
    nbytes = data.nbytes
    block = recorder.temporary(nbytes, str(func))
    for _ in range(steps - 1):
        following = recorder.temporary(nbytes, str(func))
        recorder.release(block)
        block = following
    outputs = recorder.run(func, args, kwargs)
    recorder.release(block)
    return outputs


RULES: dict[Any, Rule] = {
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.add.Tensor: accumulate,
    aten.scatter.src: scatter_into_zeros,
    aten.scatter_add.default: scatter_into_zeros,
    aten.index_add.default: scatter_into_zeros,
    aten.index.Tensor: indexing.indexed,
    **dict.fromkeys(indexing.INDEX_PUTS, indexing.index_put),
    aten.sort.default: sorting.sort,
    aten.sort.stable: sorting.sort,
    aten.topk.default: sorting.ranked,
    aten.bitwise_not.default: indexing.negate,
    aten.logical_not.default: indexing.negate,
    aten.masked_select.default: indexing.masked_select,
    aten._unique2.default: sorting.unique,
    torch.ops.bevdiag.unique2.default: sorting.unique,
    **dict.fromkeys(sorting.DISTINCT, sorting.distinct),
    aten.nonzero.default: indexing.nonzero,
    aten.repeat_interleave.Tensor: indexing.repeat_interleave,
    aten._local_scalar_dense.default: _item,
    aten.equal.default: _equal,
    aten.scalar_tensor.default: _host_number,
    **dict.fromkeys(
        (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default), _gemm
    ),
    aten._softmax.default: _softmax,
    aten._log_softmax.default: _softmax,
    aten._softmax_backward_data.default: _softmax,
    **dict.fromkeys(
        (aten.sum.default, aten.sum.dim_IntList, aten.mean.dim, aten.cumsum.default),
        sorting.summed,
    ),
    **dict.fromkeys(
        (aten.native_layer_norm.default, aten.native_layer_norm_backward.default),
        sorting.layer_norm,
    ),
    aten.cat.default: indexing.concatenated,
    aten.select.int: indexing.picked,
    aten.slice.Tensor: indexing.picked,
    aten.roll.default: _roll,
    aten.embedding_dense_backward.default: sorting.embedding_backward,
    aten.native_dropout.default: _dropout,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten.max_pool2d_with_indices_backward.default: _max_pool,
    aten.convolution.default: convolution.forward,
    aten.convolution_backward.default: convolution.backward,
}


def new_recorder(attribution: Attribution) -> Recorder:
    """Return a recorder that knows these rules."""
    sole_owner_counts()  # measured now: inside the mode it would watch itself
    return Recorder(attribution, RULES)
