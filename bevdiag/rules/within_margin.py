"""The step fits, but by less than is unknown about the GPU.

What it means:
    What is left of the GPU's memory is less than what the process holds outside of PyTorch's
    allocator, and that was measured on another GPU than this one.

Why it happens:
    A CUDA context's size depends on the driver and the number of multiprocessors. Where no profile
    of the GPU is at hand, that of the H200 is taken. A display or another process on the GPU
    takes its share as well.

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
    if evidence.verdict is not Verdict.FITS or target.capacity_bytes is None or target.is_capped:
        return
    room = target.capacity_bytes - evidence.high.max_reserved_bytes
    if target.profile is None and room < target.context_bytes:
        spare = (
            f"with {format_size(room)} to spare"
            if room >= 0
            else "once the allocator has given back what it caches"
        )
        yield finding(
            "BEV308",
            f"the step fits {target.gpu} {spare}, but the CUDA context is only taken to be "
            f"{format_size(target.context_bytes)}, that of another GPU",
            module=evidence.high.peak.module,
        )
