"""The attention maps themselves take a GiB or more.

What it means:
    Every attention layer keeps a matrix of S x S weights for each set of voxels and each head
    until the backward pass.

Why it happens:
    nn.MultiheadAttention that is asked for its weights, or hand-written attention, materializes
    the softmax. Its size grows with the number of sets and with the square of S, not with the
    channels.

How to fix:
    Smaller sets (set_info) or fewer heads, fewer voxels, checkpointing of the blocks, or
    scaled_dot_product_attention without weights, which never makes the matrix.

Seen in:
    skyhehe123/VoxSeT#9 (https://github.com/skyhehe123/VoxSeT/issues/9): 47.58 GiB asked for by one
    attention layer.
"""

from collections.abc import Iterator

from bevdiag.memory.events import Alloc
from bevdiag.memory.oom import format_size
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding

_NOTEWORTHY_BYTES = 2**30


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding where the maps that are alive at the peak come to a GiB."""
    maps = [block for block in evidence.profile.holders if _is_map(block.alloc)]
    total = sum(block.nbytes for block in maps)
    if total < _NOTEWORTHY_BYTES:
        return
    largest = maps[0].alloc
    number, rows, columns = largest.shape[-3:]
    yield finding(
        "BEV309",
        f"{len(maps)} attention maps hold {format_size(total)} at the peak; the largest has "
        f"{number:,} matrices of {rows} x {columns}",
        module=largest.module,
    )


def _is_map(alloc: Alloc) -> bool:
    return "softmax" in alloc.op and len(alloc.shape) >= 3 and min(alloc.shape[-2:]) > 1
