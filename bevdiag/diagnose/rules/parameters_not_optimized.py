"""BEV602: parameters that get gradients but that the optimizer does not know.

OpenPCDet's adam_onecycle collects leaf modules. Parameters that belong to a module with children
(the input projection of nn.MultiheadAttention) stay at their initial values for the whole run.
"""

from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Yield a finding where the traced optimizer left parameters out."""
    missing = evidence.trace.params_not_optimized
    if not missing:
        return
    example = next(iter(missing))
    yield finding(
        "BEV602",
        f"{sum(missing.values()):,} parameters in {len(missing)} tensors are never updated: "
        f"{evidence.optimizer} collects leaf modules only, which leaves out {example} and its like",
        config=evidence.config,
        key="OPTIMIZATION.OPTIMIZER",
        module=example.rpartition(".")[0],
    )
