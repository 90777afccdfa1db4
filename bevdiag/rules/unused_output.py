"""A module computes something that the loss never uses.

What it means:
    The module runs in every training step and costs time and memory, but nothing that it makes
    leads to the loss. It has no parameters that would tell by their missing gradients.

Why it happens:
    A later module reads another tensor than was meant, a value is written under a key that nobody
    reads, or a branch only serves inference.

How to fix:
    Let the consumer read it, compute it only outside of training, or take it out. Its row in the
    report's section "Wiring" says where it leads.

Seen in:
    open-mmlab/OpenPCDet#336 (https://github.com/open-mmlab/OpenPCDet/issues/336): tensors that the
    batch dict keeps alive though no later module needs them.
"""

from collections.abc import Iterator

from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding for every module without parameters that the loss does not reach."""
    for branch in evidence.trace.wiring.dead_branches:
        # A list of modules never runs itself, and what never runs computes nothing.
        if not branch.params and branch.path in evidence.trace.departures:
            yield finding(
                "BEV604",
                f"{branch.path} computes what no loss uses: {branch.reason}",
                module=branch.path,
            )
