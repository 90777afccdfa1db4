"""Autocast for meta tensors, by the op lists that PyTorch uses on CUDA.

The real autocast looks at each tensor's device and leaves meta tensors alone. The lists are those
of aten/src/ATen/autocast_mode.h; the cache of cast weights lives until the context ends, as there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional as F

_LOWER_PRECISION = frozenset(
    {
        torch.conv1d,
        torch.conv2d,
        torch.conv3d,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
        torch.convolution,
        torch.matmul,
        torch.mm,
        torch.mv,
        torch.bmm,
        torch.baddbmm,
        torch.addbmm,
        torch.addmm,
        torch.addmv,
        torch.einsum,
        torch.prelu,
        torch.Tensor.matmul,
        torch.Tensor.__matmul__,
        torch.Tensor.mm,
        torch.Tensor.bmm,
        F.linear,
        F.scaled_dot_product_attention,
    }
)

_FULL_PRECISION = frozenset(
    {
        torch.acos,
        torch.asin,
        torch.cosh,
        torch.exp,
        torch.expm1,
        torch.log,
        torch.log10,
        torch.log2,
        torch.log1p,
        torch.reciprocal,
        torch.rsqrt,
        torch.sinh,
        torch.tan,
        torch.pow,
        torch.layer_norm,
        torch.group_norm,
        torch.norm,
        torch.cdist,
        torch.dist,
        torch.cosine_similarity,
        torch.Tensor.exp,
        torch.Tensor.log,
        torch.Tensor.pow,
        torch.Tensor.__pow__,
        torch.Tensor.rsqrt,
        torch.Tensor.reciprocal,
        torch._C._nn.mse_loss,
        torch._C._nn.l1_loss,
        torch._C._nn.smooth_l1_loss,
        torch._C._nn.huber_loss,
        torch._C._nn.nll_loss_nd,
        torch._C._nn.cross_entropy_loss,
        torch._C._nn.softplus,
        torch.binary_cross_entropy_with_logits,
    }
)

# These get dtype=float32 for their result instead of a cast of their input.
_FULL_PRECISION_RESULT = frozenset(
    {
        torch.sum,
        torch.prod,
        torch.cumsum,
        torch.cumprod,
        torch.softmax,
        torch.log_softmax,
        torch.Tensor.sum,
        torch.Tensor.prod,
        torch.Tensor.softmax,
        torch.Tensor.cumsum,
        torch.Tensor.log_softmax,
    }
)

_WIDEST = frozenset(
    {
        torch.cat,
        torch.stack,
        torch.addcdiv,
        torch.addcmul,
        torch.cross,
        torch.dot,
        torch.grid_sampler,
        torch.index_put,
        torch.scatter_add,
        torch.bilinear,
        torch.tensordot,
        torch.vdot,
        torch.atan2,
    }
)

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Autocast:
    """Mixed precision with the given low-precision dtype; on only inside `region`."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.active = False
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @contextmanager
    def region(self) -> Iterator[None]:
        """The forward pass; code that asks (spconv does) finds CUDA's autocast switched on."""
        before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", self.dtype)
        self.active = True
        try:
            yield
        finally:
            self.active = False
            self._weights.clear()
            torch.set_autocast_enabled("cuda", before[0])
            torch.set_autocast_dtype("cuda", before[1])

    def is_on(self) -> bool:
        """Inside the region, unless the code has switched CUDA's autocast off there."""
        return self.active and torch.is_autocast_enabled("cuda")

    def cast(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as autocast would hand them to the function."""
        if func in _LOWER_PRECISION:
            return self._cast_all(args, kwargs, self.dtype)
        if func in _FULL_PRECISION:
            return self._cast_all(args, kwargs, torch.float32)
        if func in _FULL_PRECISION_RESULT:
            source = args[0] if args else None
            low = isinstance(source, torch.Tensor) and source.dtype is self.dtype
            if low and kwargs.get("dtype") is None:
                return args, {**kwargs, "dtype": torch.float32}
        if func in _WIDEST:
            dtypes = {t.dtype for t in _floats(args, kwargs)}
            if torch.float32 in dtypes and self.dtype in dtypes:
                return self._cast_all(args, kwargs, torch.float32)
        return args, kwargs

    def _cast_all(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (
            tuple(self._cast_value(a, dtype) for a in args),
            {k: self._cast_value(v, dtype) for k, v in kwargs.items()},
        )

    def _cast_value(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, torch.Tensor):
            return self._cast_tensor(value, dtype)
        if isinstance(value, (list, tuple)):
            return type(value)(self._cast_value(item, dtype) for item in value)
        return value

    def _cast_tensor(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        eligible = tensor.is_meta and tensor.is_floating_point()
        if not eligible or tensor.dtype in (dtype, torch.float64):
            return tensor
        is_weight = (
            self.active
            and dtype is self.dtype
            and tensor.dtype is torch.float32
            and tensor.requires_grad
            and tensor.is_leaf
            and not tensor._is_view()
        )
        if not is_weight:
            return tensor.to(dtype)
        # Keyed by id and held with the weight itself, so that no id is used twice.
        cached = self._weights.get(id(tensor))
        if cached is None:
            cached = (tensor, tensor.to(dtype))
            self._weights[id(tensor)] = cached
        return cached[1]


def _floats(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    for value in (*args, *kwargs.values()):
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, torch.Tensor) and item.is_floating_point():
                yield item
