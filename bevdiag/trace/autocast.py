"""Autocast for meta tensors, by the op lists that PyTorch uses on CUDA.

The real autocast looks at each tensor's device and leaves meta tensors alone. The lists are those
of aten/src/ATen/autocast_mode.h; the cache of cast weights lives until the context ends, as there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bevdiag.trace.operands import tensors_in

_HOMES = (
    torch._C._VariableFunctions,
    torch.Tensor,
    torch._C._nn,
    torch._C._linalg,  # type: ignore[attr-defined]
)


def _python_names(operations: str) -> frozenset[Any]:
    """Return what Python code calls to get to these operations; some have no name there."""
    return frozenset(
        getattr(home, name) for name in operations.split() for home in _HOMES if hasattr(home, name)
    )


LOWER_PRECISION = """
    _convolution conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d
    convolution prelu addmm addmv addr matmul __matmul__ einsum mm mv linalg_vecdot linear addbmm
    baddbmm bmm chain_matmul linalg_multi_dot _thnn_fused_lstm_cell _thnn_fused_gru_cell lstm_cell
    gru_cell rnn_tanh_cell rnn_relu_cell _scaled_dot_product_flash_attention
    scaled_dot_product_attention
"""

FULL_PRECISION = """
    acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow __pow__
    softplus layer_norm native_layer_norm rms_norm group_norm frobenius_norm nuclear_norm
    cosine_similarity poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d nll_loss_nd
    cross_entropy_loss hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss
    margin_ranking_loss multilabel_margin_loss soft_margin_loss triplet_margin_loss
    multi_margin_loss binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp
    upsample_nearest1d _upsample_nearest_exact1d upsample_nearest2d _upsample_nearest_exact2d
    upsample_nearest3d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d
    _upsample_bilinear2d_aa upsample_trilinear3d upsample_bicubic2d _upsample_bicubic2d_aa
"""

# These get dtype=float32 for their result instead of a cast of their input.
FULL_PRECISION_RESULT = """
    prod softmax log_softmax cumprod cumsum linalg_vector_norm linalg_matrix_norm sum
"""

WIDEST = """
    addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add
"""

_LOWER_PRECISION = _python_names(LOWER_PRECISION)
_FULL_PRECISION = _python_names(FULL_PRECISION)
_FULL_PRECISION_RESULT = _python_names(FULL_PRECISION_RESULT)
_WIDEST = _python_names(WIDEST)

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Autocast:
    """Mixed precision with the given low-precision dtype; on only inside `region`.

    `is_device` says which tensors stand for the GPU's: features made of real coordinates do, too.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        is_device: Callable[[torch.Tensor], bool] = lambda tensor: tensor.is_meta,
    ) -> None:
        self.dtype = dtype
        self._is_device = is_device
        self.active = False
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @contextmanager
    def region(self) -> Iterator[None]:
        """Enter the forward pass; code that asks (spconv does) finds CUDA's autocast on."""
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
        """Cast the arguments as autocast would hand them to the function."""
        if func in _LOWER_PRECISION:
            return self._cast(args, self.dtype), self._cast(kwargs, self.dtype)
        widens = func in _FULL_PRECISION
        if func in _FULL_PRECISION_RESULT:
            source = args[0] if args else None
            low = isinstance(source, torch.Tensor) and source.dtype in DTYPES.values()
            if low and kwargs.get("dtype") is None:
                return args, {**kwargs, "dtype": torch.float32}
        if func in _WIDEST:
            widens = {torch.float32, self.dtype} <= {t.dtype for t in tensors_in(args, kwargs)}
        if widens:
            return self._cast(args, torch.float32), self._cast(kwargs, torch.float32)
        return args, kwargs

    def _cast(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, torch.Tensor):
            return self._cast_tensor(value, dtype)
        if isinstance(value, (list, tuple)):
            return type(value)(self._cast(item, dtype) for item in value)
        if isinstance(value, dict):
            return {name: self._cast(item, dtype) for name, item in value.items()}
        return value

    def _cast_tensor(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        eligible = tensor.is_floating_point() and self._is_device(tensor)
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
