"""Attention by the package flash_attn before 2.0: what its C++ allocates, on tensors of a trace.

Sequences are packed, [tokens of all of them, heads, width]. Beside the output, of the inputs' type,
the forward pass (fmha_api.cpp) makes the logarithms of the sums, [sequences, heads, queries], in
float32; where the keys take more than one block, it adds up in float32 beside the output, and the
backward pass beside the queries' gradient.
"""

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from bevdiag.errors import NoVerdictError
from bevdiag.source.stubs.inert import InertModule

_ROUNDED = 16
"""Queries of a sequence are rounded up to it."""
_WIDE = 64
"""Width of a head up to which a block holds twice the keys."""
_KEYS_OF_A_BLOCK = 128


class _PackedKeysAndValues(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, kv: Tensor, starts: Tensor, most_queries: int, most_keys: int
    ) -> Tensor:
        if not q.is_meta:
            raise NoVerdictError("the kernels of flash_attn have no values on the CPU")
        ctx.has_several = most_keys > _KEYS_OF_A_BLOCK * (2 if q.shape[-1] <= _WIDE else 1)
        ctx.queries = math.ceil(most_queries / _ROUNDED) * _ROUNDED
        out = torch.empty_like(q)
        in_float = _in_float(q) if ctx.has_several else None
        sums = q.new_empty((len(starts) - 1, q.shape[1], ctx.queries), dtype=torch.float32)
        del in_float
        ctx.save_for_backward(q, kv, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        q, kv, _, sums = ctx.saved_tensors
        dq, dkv = torch.empty_like(q), torch.empty_like(kv)
        dots = torch.empty_like(sums)
        in_float = _in_float(q) if ctx.has_several else None
        del dots, in_float
        return dq, dkv, None, None, None


def _in_float(q: Tensor) -> Tensor:
    return torch.empty_like(q, dtype=torch.float32)


def unpadded_kvpacked(
    q: Tensor,
    kv: Tensor,
    starts: Tensor,
    _: Tensor,
    most_queries: int,
    most_keys: int,
    *__: Any,
    **___: Any,
) -> Tensor:
    """Attend from q [Q, heads, width] to kv [K, 2, heads, width]; `starts` is one more each."""
    attend: Any = _PackedKeysAndValues.apply
    found: Tensor = attend(q, kv, starts, most_queries, most_keys)
    return found


def flash_modules() -> dict[str, ModuleType]:
    """Return the package's modules by name; any other function of it stops a trace."""
    names = ("flash_attn", "flash_attn.flash_attn_interface", "flash_attn.bert_padding")
    top, interface, padding = map(InertModule, names)
    interface.__dict__["flash_attn_unpadded_kvpacked_func"] = unpadded_kvpacked
    top.__dict__.update(flash_attn_interface=interface, bert_padding=padding)
    return dict(zip(names, (top, interface, padding), strict=True))
