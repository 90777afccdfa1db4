"""The step fits, but by less than is unknown about the GPU.

What it means:
    What is left of the GPU's memory is less than what the process holds outside of PyTorch's
    allocator, and that was measured on another GPU than this one. Where it is even less than the
    widest differences that were measured (between two drivers' totals of one GPU, between two
    stacks' contexts), no verdict is given.

Why it happens:
    What CUDA's context and the kernels of PyTorch, cuDNN and spconv take depends on the driver and
    the GPU. Where no profile of the GPU is at hand, that of the H200 is taken. A display or another
    process on the GPU takes its share as well, which --margin leaves free.

How to fix:
    Measure the GPU once with `bevdiag calibrate` and inspect with its profile, or leave more room
    with one of the remedies.

Seen in:
    pytorch/pytorch#12873 (https://github.com/pytorch/pytorch/issues/12873): hundreds of MiB of
    context that no count of tensors shows.
"""

from collections.abc import Iterator

from bevdiag.memory.oom import format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding where the room left is less than a context that nobody measured."""
    target = evidence.target
    if target.capacity_bytes is None:
        return
    room = target.capacity_bytes - evidence.high.max_reserved_bytes
    if evidence.verdict is Verdict.DEPENDS and target.doubt_bytes and room >= 0:
        yield finding(
            "BEV308",
            f"{format_size(room)} of {target.gpu} are left, and it may have "
            f"{format_size(target.doubt_bytes)} less than assumed",
            module=evidence.high.peak.module,
        )
    elif evidence.verdict is not Verdict.FITS or target.is_capped:
        return
    elif target.profile is None and room < target.context_bytes:
        left = (
            f"with {format_size(room)} to spare"
            if room >= 0
            else "where the allocator gives cached memory back on the way"
        )
        yield finding(
            "BEV308",
            f"the step fits {target.gpu} {left}, but the CUDA context "
            f"is only taken to be {format_size(target.context_bytes)}, that of another GPU",
            module=evidence.high.peak.module,
        )
