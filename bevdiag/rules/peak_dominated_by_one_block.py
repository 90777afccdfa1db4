"""One block makes up most of the peak, so there is one thing to fix.

What it means:
    More than 40 % of the memory at the highest moment is a single allocation. Everything else
    could vanish and the step would still need it.

Why it happens:
    A tensor or a workspace grew by a product of sizes (channels x height, anchors x cells) while
    the rest of the model grew by one of them.

How to fix:
    Change what sizes that block: the finding names its module and operation.

Seen in:
    skyhehe123/VoxSeT#9 (https://github.com/skyhehe123/VoxSeT/issues/9): one attention buffer of
    47.58 GiB in a model that is small otherwise.
"""

from collections.abc import Iterator

from bevdiag.memory.oom import format_size
from bevdiag.memory.requests import GemmWorkspace
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding

_SHARE = 0.4


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding where the largest block is more than 40 % of the peak."""
    holders, total = evidence.profile.holders, evidence.profile.peak.allocated_bytes
    if not holders or holders[0].nbytes <= _SHARE * total:
        return
    alloc = holders[0].alloc
    if isinstance(alloc.request, GemmWorkspace):  # of a fixed size, whatever the model
        return
    yield finding(
        "BEV304",
        f"one block is {holders[0].nbytes / total:.0%} of the peak: "
        f"{format_size(holders[0].nbytes)} of {alloc.category.value} in "
        f"{alloc.module or 'the detector'} ({alloc.op})",
        module=alloc.module,
    )
