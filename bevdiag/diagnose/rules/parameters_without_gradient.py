"""Parameters that no gradient reaches after a whole step.

What it means:
    The parameters cost memory and never learn; under DistributedDataParallel they stop the run. A
    module whose parameters all lack a gradient is a dead branch: something reads past it.

Why it happens:
    Modules hand each other tensors by name in one dict, and a later module can read the tensor of
    an earlier one than was meant. A hard threshold passes no gradient either.

How to mend:
    Let the consumer read the branch's own tensor, add the branch's loss to the detector's, or take
    the branch out.

Seen in:
    AutoVision-cloud/SA-Det3D#7 (https://github.com/AutoVision-cloud/SA-Det3D/issues/7): training on
    several GPUs stops because 22 parameters of the attention modules receive no gradient.
"""

from collections import defaultdict
from collections.abc import Iterator

from bevdiag.diagnose.codes import finding
from bevdiag.diagnose.evidence import StepEvidence
from bevdiag.diagnose.result import Finding


def check(evidence: StepEvidence) -> Iterator[Finding]:
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


def _dead_branch(evidence: StepEvidence, module: str, count: int) -> Finding:
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
        document=evidence.document,
        key=key,
        module=module,
    )
