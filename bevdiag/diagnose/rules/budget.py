"""BEV301 and BEV302: the step needs more than the budget, or may need more.

"Fits" is said of the upper end only: a count that depends on values must fit at its highest.
"""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding, Verdict
from bevdiag.memory.oom import format_size


def check(evidence: Evidence) -> Iterator[Finding]:
    """Yield a finding where the verdict is not a clear yes."""
    capacity = evidence.target.capacity_bytes
    if capacity is None:
        return
    expected = format_size(evidence.profile.max_reserved_bytes)
    high = format_size(evidence.high.max_reserved_bytes)
    limit = format_size(capacity)
    if evidence.verdict is Verdict.OVER:
        yield finding(
            "BEV301",
            f"the step reserves {expected} where {limit} are usable",
            module=evidence.profile.peak.module,
        )
    elif evidence.verdict is Verdict.DEPENDS:
        yield finding(
            "BEV302",
            f"the step is expected to reserve {expected} of {limit}, but may need {high}: "
            "it depends on values that training changes",
            module=evidence.high.peak.module,
        )
