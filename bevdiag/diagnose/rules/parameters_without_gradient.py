"""BEV601: parameters that no gradient reaches after a whole step.

They cost memory and never learn; under DistributedDataParallel they stop the run. A module whose
parameters all lack a gradient is a dead branch: something reads past it.
"""

from collections import defaultdict
from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import Evidence
from bevdiag.diagnose.result import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Yield one finding a module, the outermost one that is wholly without gradient."""
    missing = evidence.trace.params_without_grad
    if not missing:
        return
    totals = {layer.name: layer.params for layer in evidence.trace.layers}
    lacking: dict[str, int] = defaultdict(int)
    for parameter, count in missing.items():
        parts = parameter.split(".")[:-1]
        for end in range(1, len(parts) + 1):
            lacking[".".join(parts[:end])] += count
    dead = {module for module, count in lacking.items() if count == totals.get(module)}
    for module in sorted(dead):
        if not any(module.startswith(f"{other}.") for other in dead):
            yield _dead_branch(evidence, module, lacking[module])


def _dead_branch(evidence: Evidence, module: str, count: int) -> Finding:
    key, reason = "", "its output reaches no loss"
    if module == "backbone_3d.dsvt":
        key = "MODEL.MAP_TO_BEV.INPUT"
        reason = (
            "MAP_TO_BEV.INPUT is encoder: the BEV map reads the focal encoder's tensor, and what "
            "DSVT computes is never used"
        )
    elif module == "backbone_3d.focal_encoder.conv_imp":
        key = "MODEL.BACKBONE_3D.FOCAL_ENCODER.LOSS_CONFIG"
        reason = (
            "voxels are selected by a threshold, which passes no gradient, and CenterPoint never "
            "adds the encoder's focal loss to its own"
        )
    return finding(
        "BEV601",
        f"{module}: {count:,} parameters get no gradient: {reason}",
        config=evidence.config,
        key=key,
        module=module,
    )
