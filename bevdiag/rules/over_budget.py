"""The step reserves more memory than the GPU or the budget has.

What it means:
    The allocator must hold more from CUDA at some moment of the step than is usable, so the step
    ends in an out-of-memory error.

Why it happens:
    The report's peak names the moment and who is alive then; the other findings say why it is as
    high as it is.

How to fix:
    Take one of the remedies below the findings. A second GPU does not help a single sample: data
    parallelism splits batches, never samples.

Seen in:
    open-mmlab/OpenPCDet#140 (https://github.com/open-mmlab/OpenPCDet/issues/140): PV-RCNN at batch
    size 1 on 11 GB, where another card changed nothing and a smaller RoI grid did.
"""

from collections.abc import Iterator

from bevdiag.memory.oom import format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding
from bevdiag.rules.smaller_step import fixes as fixes


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding where even the expected counts do not fit."""
    capacity = evidence.target.capacity_bytes
    if capacity is None or evidence.verdict is not Verdict.OVER:
        return
    yield finding(
        "BEV301",
        f"the step reserves {format_size(evidence.profile.max_reserved_bytes)} where "
        f"{format_size(capacity)} are usable",
        module=evidence.profile.peak.module,
    )
