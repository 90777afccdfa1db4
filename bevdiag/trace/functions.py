"""The function calls that PyTorch would route differently on a GPU than on meta tensors.

A function mode sits above autograd, so what it does is part of the graph: batch norm picks cuDNN,
a linear layer adds its bias in place, autocast inserts its casts, and what the user makes without
naming a device stays on the host.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._prims_common import suggest_memory_format
from torch.overrides import TorchFunctionMode

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import Phase
from bevdiag.trace.autocast import Autocast
from bevdiag.trace.fused import KINDS, attend, recur
from bevdiag.trace.lazy_number import LazyNumber, lazy_math
from bevdiag.trace.recorder import Recorder

# cudnnBatchNormalizationForwardTraining: limits in aten/src/ATen/native/Normalization.cpp.
_CUDNN_BATCH_LIMIT = 880_801
_CUDNN_MIN_EPSILON = 1e-5

_FACTORIES = frozenset(
    getattr(torch, name)
    for name in (
        *("empty", "zeros", "ones", "full", "eye", "rand", "randn"),
        *("arange", "linspace", "tensor", "as_tensor"),
    )
)

_CROSS_ENTROPY = torch._C._nn.cross_entropy_loss
_ATTENTION = torch.nn.functional.scaled_dot_product_attention

# Modules of Python code that ask whether a mode is on and then hand the whole call to it; their
# bodies must run instead, so that the mode sees the built-in functions that they call.
_PYTHON_FUNCTIONS = (torch.nn.functional, torch.functional, torch._tensor, torch.autograd)
_MODE_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


class _CudnnBatchNorm(torch.autograd.Function):
    """aten::cudnn_batch_norm in training: what it allocates and what it keeps."""

    @staticmethod
    def forward(
        ctx: Any, data: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        output = torch.empty_like(data)
        mean, inverse_std = torch.empty_like(weight), torch.empty_like(weight)
        ctx.save_for_backward(data, weight, mean, inverse_std)
        return output

    @staticmethod
    def backward(
        ctx: Any, grad_output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        data, weight, _mean, _inverse_std = ctx.saved_tensors
        grad_output = grad_output.contiguous(memory_format=suggest_memory_format(data))
        return torch.empty_like(data), torch.empty_like(weight), torch.empty_like(weight)


def _batch_norm(
    data: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> torch.Tensor:
    uses_cudnn = (
        data.is_meta
        and training
        and data.dim() >= 3
        and data.size(0) <= _CUDNN_BATCH_LIMIT
        and data.dtype is not torch.bfloat16
        and weight is not None
        and bias is not None
        and weight.dtype is torch.float32
        and eps >= _CUDNN_MIN_EPSILON
        and cudnn_enabled
    )
    if uses_cudnn and weight is not None and bias is not None:
        result: torch.Tensor = _CudnnBatchNorm.apply(  # type: ignore[no-untyped-call]
            data.contiguous(memory_format=suggest_memory_format(data)), weight, bias
        )
        return result
    return torch.batch_norm(
        data, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled
    )


def _linear(
    data: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    if bias is None or data.dim() == 2 or data.is_contiguous():
        return torch.nn.functional.linear(data, weight, bias)
    # at::linear on a strided input: a product, then the bias in place. While a dispatch mode is on
    # PyTorch adds it out of place instead ("for composite compliance").
    return torch.matmul(data, weight.t()).add_(bias)


def _widening(plain: Any, kernel: Any) -> Callable[..., torch.Tensor]:
    """Return a softmax whose kernel widens float16 itself, as on CUDA (SoftMax.cpp)."""

    def softmax(data: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        if data.is_meta and data.dtype is torch.float16 and dtype is torch.float32:
            widened: torch.Tensor = kernel(data, dim, True)
            return widened
        kept: torch.Tensor = plain(data, dim, dtype=dtype)
        return kept

    return softmax


def _cross_entropy_of_classes(
    data: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> torch.Tensor | None:
    if target.is_floating_point() or label_smoothing:
        return None
    # at::cross_entropy_loss names the type of its log_softmax, its input's, so autocast leaves it
    # alone and widens what the loss then reads (LossNLL.cpp).
    scores = torch.log_softmax(data, min(data.dim() - 1, 1), dtype=data.dtype)
    # The stub calls the reduction's number a string.
    number: Any = reduction
    return torch._C._nn.nll_loss_nd(scores, target, weight, number, ignore_index)


def _dropout(input: torch.Tensor, p: float = 0.5, train: bool = True) -> torch.Tensor:
    # at::dropout fuses on CUDA and keeps a mask of bytes; elsewhere it keeps floats (Dropout.cpp).
    if input.is_meta and train and 0 < p < 1 and input.numel():
        return torch.native_dropout(input, p, True)[0]
    return torch.dropout(input, p, train)


_HANDLERS: dict[Any, Callable[..., torch.Tensor]] = {
    torch.dropout: _dropout,
    torch.batch_norm: _batch_norm,
    torch.nn.functional.linear: _linear,
    **dict.fromkeys(
        (torch.softmax, torch.Tensor.softmax), _widening(torch.softmax, torch._softmax)
    ),
    **dict.fromkeys(
        (torch.log_softmax, torch.Tensor.log_softmax),
        _widening(torch.log_softmax, torch._log_softmax),
    ),
}


_SIZED_BY_NUMBERS = _FACTORIES | {torch.range, torch.nn.functional.interpolate}


def _settled(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Settle lazy numbers among the arguments: C++ would read them as 1.0.

    Where they decide sizes or become tensors of the host, their values are asked for. Anything else
    makes features of them, of which nothing is known but that: they go by the name of NaN.
    """
    if LazyNumber in map(type, args) or (kwargs and LazyNumber in map(type, kwargs.values())):
        asks = func in _SIZED_BY_NUMBERS

        def settle(value: Any) -> Any:
            if type(value) is not LazyNumber:
                return value
            return value.needed() if asks else math.nan

        return tuple(map(settle, args)), {name: settle(value) for name, value in kwargs.items()}
    if func in _FACTORIES and args and isinstance(args[0], (list, tuple)):
        first = [value.needed() if type(value) is LazyNumber else value for value in args[0]]
        return (type(args[0])(first), *args[1:]), kwargs
    return args, kwargs


_T = torch.Tensor
_READS = frozenset({_T.item, _T.__bool__, _T.__int__, _T.__index__, _T.__float__})
_COPIES = frozenset({_T.cpu, _T.numpy, _T.tolist, _T.to})


def _goes_to_host(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if func is not torch.Tensor.to:
        return True
    named = (*args[1:2], kwargs.get("device"))
    return any(
        isinstance(where, (str, torch.device)) and torch.device(where).type == "cpu"
        for where in named
    )


class CudaFunctions(TorchFunctionMode):
    """Reroutes the calls; `autocast` is None when mixed precision is off.

    `target` is the device whose kernels run; None leaves attention and recurrent layers to plain
    products.
    """

    def __init__(
        self, recorder: Recorder, autocast: Autocast | None, target: DeviceTarget | None
    ) -> None:
        super().__init__()
        self._recorder = recorder
        self._autocast = autocast
        self._target = target

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = _settled(func, args, kwargs or {})
        if func in _READS and args[0].is_meta and args[0].numel() == 1:
            return self._read(func, args[0])
        if func in _COPIES and _goes_to_host(func, args, kwargs):
            copied = self._recorder.copied_to_host(args[0])
            if copied is not None:
                return func(copied, *args[1:], **kwargs)
        if func in _FACTORIES and kwargs.get("device") is None:
            with self._recorder.on_host():
                return func(*args, **kwargs)
        if self._autocast is not None and (self._autocast.is_on() or self._is_recomputing()):
            if func is _CROSS_ENTROPY:
                with self:
                    loss = _cross_entropy_of_classes(*args, **kwargs)
                if loss is not None:
                    return loss
            args, kwargs = self._autocast.cast(func, args, kwargs)
        if func in KINDS and self._target is not None:
            dtype = None
            if self._autocast is not None and self._autocast.is_on():
                dtype = torch.float16  # whatever autocast's own (autocast_mode.cpp, cudnn RNN)
            with self:
                result = recur(
                    self._recorder, self._target.multiprocessors, KINDS[func], dtype, *args
                )
            if result is not None:
                return result
        if func is _ATTENTION and self._target is not None:
            with self:
                attended = attend(self._recorder, self._target, *args, **kwargs)
            if attended is not None:
                return attended
        return _HANDLERS.get(func, func)(*args, **kwargs)

    def _read(self, func: Any, tensor: torch.Tensor) -> Any:
        """Return what Python makes of a tensor's one value."""
        supplier = self._recorder.values
        question = supplier.question("number")
        if func is torch.Tensor.__bool__ or tensor.dtype is torch.bool:
            return supplier.branch(tensor, question)
        if func is torch.Tensor.item:
            return supplier.number(tensor, question)
        if func is torch.Tensor.__float__:
            answer = supplier.copied(tensor, question)
            return 1.0 if answer is None else float(answer.numpy().item())
        return supplier.size(tensor, question)

    def _is_recomputing(self) -> bool:
        # Only a checkpoint builds a graph during the backward pass. It restores the autocast of
        # its forward pass, which torch on a machine without CUDA refuses to do.
        return self._recorder.phase is Phase.BACKWARD and torch.is_grad_enabled()


@contextmanager
def cuda_functions(
    recorder: Recorder, autocast: Autocast | None, target: DeviceTarget | None = None
) -> Iterator[None]:
    """Make calls inside behave as on a GPU."""
    replaced = [
        (module, name, getattr(module, name))
        for module in _PYTHON_FUNCTIONS
        for name in _MODE_CHECKS
        if hasattr(module, name)
    ]
    try:
        for module, name, _ in replaced:
            setattr(module, name, lambda *_: False)
        with CudaFunctions(recorder, autocast, target), lazy_math():
            yield
    finally:
        for module, name, original in replaced:
            setattr(module, name, original)
