"""BEV304: one block makes up most of the peak, so there is one thing to mend."""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding
from bevdiag.memory.oom import format_size

_SHARE = 0.4


def check(evidence: Evidence) -> Iterator[Finding]:
    """Yield a finding where the largest block is more than 40 % of the peak."""
    holders, total = evidence.profile.holders, evidence.profile.peak.allocated_bytes
    if not holders or holders[0].nbytes <= _SHARE * total:
        return
    alloc = holders[0].alloc
    yield finding(
        "BEV304",
        f"one block is {holders[0].nbytes / total:.0%} of the peak: "
        f"{format_size(holders[0].nbytes)} of {alloc.category.value} in "
        f"{alloc.module or 'the detector'} ({alloc.op})",
        module=alloc.module,
    )
