"""Which kernel `scaled_dot_product_attention` takes, and the scratch memory of each.

The order and the conditions are those of `select_sdp_backend` in
aten/src/ATen/native/transformers/cuda/sdp_utils.cpp: cuDNN's first where torch prefers it, then
flash, then memory-efficient, then plain products. The buffers are those of
transformers/cuda/{attention,attention_backward}.cu, flash_attn/flash_api.cpp,
mem_eff_attention/kernel_backward.h and of cudnn-frontend's backward node, and were seen on an H200
(torch 2.11, cuDNN 9.19; tests/data/attention_h200.json).
"""

from dataclasses import dataclass
from enum import Enum
from math import ceil

from bevdiag.memory.allocator import round_up
from bevdiag.memory.catalogue import torch_release
from bevdiag.memory.device import DeviceTarget

HALF = ("float16", "bfloat16")
LSE_ALIGNMENT = 32
"""The memory-efficient kernel pads each head's logsumexp to so many queries."""
FLASH_ROWS = 128
"""Queries that flash attention's backward rounds up to."""
CUDNN_ALIGNMENT_BYTES = 256
GRAD_Q_HEADER_BYTES = 16
"""A lock and a counter before each tile of the memory-efficient kernel's gradient of queries."""
GQA_IN_EFFICIENT_TORCH = (2, 12)
"""First torch whose memory-efficient kernel is taken to share keys between heads: 2.11 was seen to
refuse, later sources do not."""

COARSE_DROPOUT_TORCH = (2, 14)
"""First torch taken to give cuDNN only dropouts that are multiples of 1/16: 2.11 gave it 0.1."""


class Kernel(str, Enum):
    """The implementations, named as in `torch.nn.attention.SDPBackend`."""

    CUDNN = "cuDNN"
    FLASH = "flash"
    EFFICIENT = "memory-efficient"
    MATH = "math"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCall:
    """One call as the choice of its kernel sees it.

    Attributes:
        batch, heads, key_heads, queries, keys, width, value_width: the sizes of [B, H, M, K]
            queries, [B, H', N, K] keys and [B, H', N, K'] values.
        dtype: of all three, empty where they differ.
        is_dense: whether the innermost strides are 1.
        has_mask: whether there is a mask; `mask_fits` and `mask_has_grad` tell of it.
        mask_fits: whether it has two axes or four that broadcast to [B, H, M, N].
        shares_keys: whether `enable_gqa` was given.
        has_grad: whether there will be a backward pass.
    """

    batch: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    width: int
    value_width: int
    dtype: str
    is_dense: bool = True
    has_mask: bool = False
    mask_fits: bool = True
    mask_has_grad: bool = False
    dropout: float = 0.0
    is_causal: bool = False
    shares_keys: bool = False
    has_grad: bool = True

    @property
    def element_bytes(self) -> int:
        """Bytes of an element."""
        return 2 if self.dtype in HALF else 4


def attention_kernel(call: AttentionCall, target: DeviceTarget) -> Kernel:
    """Return the kernel that the target's torch picks for a call with four axes."""
    if not (call.dtype and call.queries and call.keys and call.is_dense):
        return Kernel.MATH
    if _prefers_cudnn(target) and _suits_cudnn(call, target):
        return Kernel.CUDNN
    if _suits_flash(call, target):
        return Kernel.FLASH
    if _suits_efficient(call, target):
        return Kernel.EFFICIENT
    return Kernel.MATH


def _prefers_cudnn(target: DeviceTarget) -> bool:
    """Follow `check_prefer_cudnn_attention`, which changed with the releases."""
    if target.compute_capability[0] not in (9, 10):
        return False
    release = torch_release(target.torch)
    if release >= (2, 10):
        return target.cudnn > (9, 15, 0)
    return target.torch.startswith("2.9.0") or target.torch.startswith("2.5.0")


def _suits_cudnn(call: AttentionCall, target: DeviceTarget) -> bool:
    widest = 256 if target.compute_capability in ((9, 0), (10, 0)) else 128
    has_bad_dropout = (9, 11, 0) < target.cudnn < (9, 14, 0)
    return (
        call.dtype in HALF
        and _heads_suit(call, shares_keys=True)
        and (call.mask_fits and not call.mask_has_grad)
        and max(call.width, call.value_width) <= widest
        and call.width % 8 == 0 == call.value_width % 8
        and (torch_release(target.torch) < COARSE_DROPOUT_TORCH or (call.dropout * 16).is_integer())
        and not (call.dropout and has_bad_dropout)
        and call.keys > 1
        and not (call.dropout and call.queries == 1)
    )


def _suits_flash(call: AttentionCall, target: DeviceTarget) -> bool:
    capability = target.compute_capability
    # Backward passes over wide heads want more shared memory than these chips have.
    is_small_chip = (8, 6) <= capability <= (8, 9) or capability[0] == 12
    fits_it = call.width <= 192 or (call.width > 224 and not call.dropout)
    is_too_wide = call.has_grad and is_small_chip and not fits_it
    return (
        capability >= (8, 0)
        and call.dtype in HALF
        and not call.has_mask
        and call.width == call.value_width <= 256
        and not is_too_wide
        and not (call.is_causal and call.queries != call.keys)
        and _heads_suit(call, shares_keys=True)
    )


def _suits_efficient(call: AttentionCall, target: DeviceTarget) -> bool:
    major = target.compute_capability[0]
    half = call.dtype in HALF
    if call.dtype not in ("float32", *HALF) or (call.dtype == "bfloat16" and major < 8):
        return False
    has_tensor_cores = major >= 8 or (major == 7 and half)
    alignment = max(4 if major >= 8 else 1, (8 if half else 4) if has_tensor_cores else 1)
    shares_keys = torch_release(target.torch) >= GQA_IN_EFFICIENT_TORCH
    return call.width % alignment == 0 == call.value_width % alignment and _heads_suit(
        call, shares_keys=shares_keys
    )


def _heads_suit(call: AttentionCall, *, shares_keys: bool) -> bool:
    if call.shares_keys and shares_keys:
        return call.heads % call.key_heads == 0
    return call.heads == call.key_heads


# -- scratch memory --------------------------------------------------------------------------------


def logsumexp_bytes(call: AttentionCall, kernel: Kernel) -> int:
    """Return what is kept of the softmax: one float32 a query."""
    rows = call.queries
    if kernel is Kernel.EFFICIENT:
        rows = round_up(rows, LSE_ALIGNMENT)
    return 4 * call.batch * call.heads * rows


def forward_scratch(call: AttentionCall, kernel: Kernel, target: DeviceTarget) -> tuple[int, ...]:
    """Return the buffers that live for the length of the forward call."""
    heads = call.batch * call.heads
    if kernel is Kernel.CUDNN:
        return (CUDNN_ALIGNMENT_BYTES,)
    if kernel is Kernel.EFFICIENT:
        # Half-precision heads of more than 128 do not stay in registers.
        is_wide = call.value_width > 128 and call.element_bytes == 2
        return (4 * heads * call.queries * call.value_width,) if is_wide else ()
    splits = 1 if call.dropout else _flash_splits(call, target)
    if splits == 1:
        return ()
    rows = splits * heads * call.queries
    return (4 * rows, 4 * rows * _flash_width(call))


def backward_scratch(call: AttentionCall, kernel: Kernel) -> tuple[int, ...]:
    """Return the buffers that live for the length of the backward call, beside the gradients."""
    heads = call.batch * call.heads
    if kernel is Kernel.CUDNN:
        return (_cudnn_backward(call),)
    if kernel is Kernel.EFFICIENT:
        return (4 * heads * call.queries, heads * _efficient_backward(call))
    rows = heads * round_up(call.queries, FLASH_ROWS)
    scratch = (4 * rows, 4 * rows * _flash_width(call))
    if call.key_heads != call.heads:
        expanded = call.element_bytes * heads * call.keys * round_up(call.width, 8)
        return (*scratch, expanded, expanded)
    return scratch


def _cudnn_backward(call: AttentionCall) -> int:
    """Return queries' gradient in float32, the sums over each row; keys' per head, where shared."""
    heads = call.batch * call.heads
    nbytes = 4 * heads * call.queries * (call.width + 1) + CUDNN_ALIGNMENT_BYTES
    if call.key_heads != call.heads:
        nbytes += 2 * heads * call.keys * (call.width + call.value_width)
    return nbytes


def _efficient_backward(call: AttentionCall) -> int:
    """One head's share: tiles of the gradient of queries, and what does not stay in registers.

    Tiles are 64 x 64 for heads up to 64; beyond, 128 x 128 in half precision (128 x 64 above 128)
    and 64 x 128 in float32.
    """
    width = max(call.width, call.value_width)
    half = call.element_bytes == 2
    rows, columns = (64, 64) if width <= 64 else (128, 128) if half else (64, 128)
    if half and width > 128:
        columns = 64
    tiles = ceil(call.queries / rows) * ceil(call.width / columns)
    nbytes = tiles * (4 * rows * columns + GRAD_Q_HEADER_BYTES)
    if half and width > 128:
        nbytes += (
            4
            * round_up(call.keys, 64)
            * (round_up(call.width, 64) + round_up(call.value_width, 64))
        )
    return nbytes


def _flash_width(call: AttentionCall) -> int:
    return round_up(call.width, 32) if call.width <= 192 else 256


def _flash_splits(call: AttentionCall, target: DeviceTarget) -> int:
    """Follow `num_splits_heuristic`: few blocks of queries share the keys among them."""
    slots = 2 * target.multiprocessors
    block = 256 if call.width <= 64 else 128 if call.width <= 128 else 64
    key_blocks = ceil(call.keys / block)
    query_blocks = call.batch * call.heads * ceil(call.queries / 64)
    if query_blocks >= 0.8 * slots:
        return 1
    efficiency: dict[int, float] = {}
    for splits in range(1, min(128, slots, key_blocks) + 1):
        # So many splits leave some without a block of their own.
        if splits > 1 and ceil(key_blocks / splits) == ceil(key_blocks / (splits - 1)):
            continue
        waves = query_blocks * splits / slots
        efficiency[splits] = waves / ceil(waves)
    best = max(efficiency.values())
    return next(splits for splits, found in efficiency.items() if found >= 0.85 * best)
