"""Parameters that get gradients but that the optimizer does not know.

What it means:
    The parameters stay at their initial values for the whole run, though gradients are made for
    them in every step.

Why it happens:
    OpenPCDet's adam_onecycle and adam_cosineanneal collect the parameters of leaf modules. Those
    that belong to a module with children, such as the input projection of nn.MultiheadAttention,
    are in none.

How to fix:
    Take adam or sgd, which collect model.parameters(), or make the parameters a leaf module's own.

Seen in:
    open-mmlab/OpenPCDet#845 (https://github.com/open-mmlab/OpenPCDet/issues/845): the parameters
    that adam_onecycle steps are not those that its user thought; with adam they are.
"""

from collections.abc import Iterator

from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield a finding where the traced optimizer left parameters out."""
    missing = evidence.trace.params_not_optimized
    if not missing:
        return
    example = next(iter(missing))
    yield finding(
        "BEV602",
        f"{sum(missing.values()):,} parameters in {len(missing)} tensors are never updated: "
        f"{evidence.optimizer} collects leaf modules only, which leaves out {example} and its like",
        document=evidence.document,
        key="OPTIMIZATION.OPTIMIZER",
        module=example.rpartition(".")[0],
    )
