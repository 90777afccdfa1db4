"""What attention by flash_attn allocates: outputs, sums, and what it adds up in float32."""

from typing import Any

import pytest
import torch
from torch import nn

from bevdiag.errors import NoVerdictError
from bevdiag.source.stubs.flash import flash_modules
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.recorder import Recorder

ATTEND: Any = flash_modules()["flash_attn.flash_attn_interface"].flash_attn_unpadded_kvpacked_func
QUERIES, HEADS, WIDTH = 20, 2, 32
STARTS = torch.tensor([0, QUERIES], dtype=torch.int32)
OUT, SUMS = QUERIES * HEADS * WIDTH * 2, HEADS * 32 * 4


def _inputs(keys: int) -> list[torch.Tensor]:
    shapes = (QUERIES, HEADS, WIDTH), (keys, 2, HEADS, WIDTH)
    return [
        torch.empty(shape, dtype=torch.float16, device="meta", requires_grad=True)
        for shape in shapes
    ]


@pytest.mark.parametrize(("keys", "in_float"), [(256, []), (257, [2 * OUT])])
def test_more_keys_than_a_block_are_added_up_in_float(keys: int, in_float: list[int]) -> None:
    recorder = Recorder(Attribution(nn.Module()))
    q, kv = _inputs(keys)
    with recorder:
        out = ATTEND(q, kv, STARTS, STARTS, QUERIES, keys, 0.1, softmax_scale=None, causal=False)
        assert recorder.stream(1).nbytes.tolist() == [OUT, *in_float, SUMS]
        torch.autograd.backward(out, torch.empty_like(out))
    grads = recorder.stream(1).nbytes.tolist()[len(in_float) + 2 :]
    assert grads == [OUT, OUT, keys * 2 * HEADS * WIDTH * 2, SUMS, *in_float]


def test_it_has_no_values() -> None:
    q, kv = (torch.zeros(part.shape, dtype=torch.float16) for part in _inputs(4))
    with pytest.raises(NoVerdictError, match="flash_attn have no values on the CPU"):
        ATTEND(q, kv, STARTS, STARTS, QUERIES, 4)
