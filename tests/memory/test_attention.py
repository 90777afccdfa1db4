"""The kernel of an attention call and its buffers, against what an H200 did."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bevdiag.memory.attention import (
    AttentionCall,
    Kernel,
    attention_kernel,
    backward_scratch,
    forward_scratch,
    logsumexp_bytes,
)
from bevdiag.memory.device import make_target

DATA = json.loads((Path(__file__).parents[1] / "data" / "attention_h200.json").read_text("utf-8"))
H200 = make_target(torch="2.11.0", gpu="h200")
FORCED = {
    None: None,
    "FLASH_ATTENTION": Kernel.FLASH,
    "EFFICIENT_ATTENTION": Kernel.EFFICIENT,
}


def call_of(row: dict[str, Any]) -> AttentionCall:
    return AttentionCall(
        batch=row["b"],
        heads=row["h"],
        key_heads=row["hk"],
        queries=row["m"],
        keys=row["n"],
        width=row["d"],
        value_width=row["dv"],
        dtype=row["dtype"].removeprefix("torch."),
        has_mask=row["mask"] is not None,
        mask_has_grad=row["maskgrad"],
        dropout=row["dropout"],
        is_causal=row["causal"],
        shares_keys=row["gqa"],
    )


@pytest.mark.parametrize("row", DATA["rows"])
def test_the_kernel_is_the_one_that_ran(row: dict[str, Any]) -> None:
    names = {"cudnn": "cuDNN", "efficient": "memory-efficient"}
    assert attention_kernel(call_of(row), H200).value == names.get(row["choice"], row["choice"])


@pytest.mark.parametrize("row", DATA["rows"])
def test_the_buffers_are_those_that_were_asked_for(row: dict[str, Any]) -> None:
    call = call_of(row)
    kernel = FORCED[row["forced"]] or attention_kernel(call, H200)
    if kernel is Kernel.MATH:
        pytest.skip("plain products are PyTorch's own")
    if kernel is Kernel.FLASH and call.width % 8:
        call = replace(call, width=call.width + -call.width % 8, value_width=call.width)
    forward, backward = list(row["forward"]), list(row["backward"])
    for nbytes in (logsumexp_bytes(call, kernel), *forward_scratch(call, kernel, H200)):
        forward.remove(nbytes)
    for nbytes in backward_scratch(call, kernel):
        backward.remove(nbytes)
    # What is left are tensors, each no larger than the largest of them, and a few seeds.
    largest = max(call.queries, call.keys) * max(call.width, call.value_width)
    largest *= call.batch * call.heads * call.element_bytes
    if row["mask"] is None:
        assert max(forward) <= largest
        assert max(backward) <= largest


FP16 = call_of(DATA["rows"][0])


@pytest.mark.parametrize(
    ("gpu", "torch", "change", "kernel"),
    [
        ("rtx4090", "2.11.0", {}, Kernel.FLASH),
        ("h200", "2.7.0", {}, Kernel.FLASH),
        ("h200", "2.10.0", {}, Kernel.FLASH),  # its cuDNN is too old to be preferred
        ("rtx4090", "2.11.0", {"has_mask": True}, Kernel.EFFICIENT),
        ("t4", "2.11.0", {}, Kernel.MATH),  # no bfloat16 before Ampere
        ("t4", "2.11.0", {"dtype": "float16"}, Kernel.EFFICIENT),
        ("rtx4090", "2.11.0", {"width": 208, "value_width": 208}, Kernel.EFFICIENT),
        ("rtx4090", "2.11.0", {"dtype": "float32"}, Kernel.EFFICIENT),
        ("rtx4090", "2.11.0", {"dtype": "float32", "width": 34, "value_width": 34}, Kernel.MATH),
        ("rtx4090", "2.11.0", {"dtype": "float64"}, Kernel.MATH),
        ("rtx4090", "2.11.0", {"is_causal": True, "keys": 100}, Kernel.EFFICIENT),
        ("h200", "2.11.0", {"is_dense": False}, Kernel.MATH),
    ],
)
def test_other_targets_and_shapes(
    gpu: str, torch: str, change: dict[str, Any], kernel: Kernel
) -> None:
    assert attention_kernel(replace(FP16, **change), make_target(torch=torch, gpu=gpu)) is kernel
