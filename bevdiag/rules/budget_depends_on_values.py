"""The step is expected to fit, but values that training changes can push it over.

What it means:
    At the expected counts the step fits; at their upper end it does not. "Fits" is said of the
    upper end only.

Why it happens:
    Some sizes follow from feature values rather than from the config: the voxels that a focal
    module keeps, the points of a scene. They move while the model learns.

How to fix:
    Bound the count (a top-k instead of a threshold, a cap on voxels), leave more room, or pin the
    count with --assume where you know it.

Seen in:
    DerrickXuNu/OpenCOOD#42 (https://github.com/DerrickXuNu/OpenCOOD/issues/42): memory that varies
    a lot while the same model trains.
"""

from collections.abc import Iterator

from bevdiag.memory.oom import format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding where the expected counts fit and their upper end does not."""
    capacity = evidence.target.capacity_bytes
    if capacity is None or evidence.verdict is not Verdict.DEPENDS:
        return
    if evidence.target.doubt_bytes and evidence.high.max_reserved_bytes <= capacity:
        return  # it is the capacity that is in doubt: BEV308
    yield finding(
        "BEV302",
        f"the step is expected to reserve {format_size(evidence.profile.max_reserved_bytes)} of "
        f"{format_size(capacity)}, but may need {format_size(evidence.high.max_reserved_bytes)}: "
        "it depends on values that training changes",
        module=evidence.high.peak.module,
    )
