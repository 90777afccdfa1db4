"""Parameters that no gradient reaches after a whole step.

What it means:
    The parameters cost memory and never learn; under DistributedDataParallel they stop the run. A
    module whose parameters all lack a gradient is a dead branch: something reads past it.

What is printed:
    Expected to have finished reduction in the prior iteration before starting a new one

Why it happens:
    Modules hand each other tensors by name in one dict, and a later module can read the tensor of
    an earlier one than was meant. A hard threshold passes no gradient either.

How to fix:
    Let the consumer read the branch's own tensor, add the branch's loss to the detector's, or take
    the branch out.

Seen in:
    AutoVision-cloud/SA-Det3D#7 (https://github.com/AutoVision-cloud/SA-Det3D/issues/7): training on
    several GPUs stops because 22 parameters of the attention modules receive no gradient.
"""

from collections.abc import Iterator

from bevdiag.rules.codes import finding
from bevdiag.rules.evidence import TraceEvidence
from bevdiag.rules.finding import Finding
from bevdiag.trace.wiring import DeadBranch

_SWITCHES = {
    "backbone_3d.dsvt": (
        "MODEL.MAP_TO_BEV.INPUT",
        "INPUT: dsvt lets the map read DSVT's features instead of the focal encoder's.",
    ),
    "backbone_3d.focal_encoder.conv_imp": (
        "MODEL.BACKBONE_3D.FOCAL_ENCODER.LOSS_CONFIG",
        "Voxels are selected by a threshold, which passes no gradient either: only the encoder's "
        "focal loss could train the layer, and CenterPoint never adds it to its own.",
    ),
}
"""Where the config decides about a branch, and how."""


def check(evidence: TraceEvidence) -> Iterator[Finding]:
    """Yield one finding for every outermost module that is wholly without gradient."""
    for branch in evidence.trace.wiring.dead_branches:
        if branch.params:
            yield _dead_branch(evidence, branch)


def _dead_branch(evidence: TraceEvidence, branch: DeadBranch) -> Finding:
    key, lesson = _SWITCHES.get(branch.path, ("", ""))
    if evidence.document.get(key) is None:
        key, lesson = "", ""
    detail = [lesson] if lesson else []
    missing = sum(evidence.trace.params_without_grad.values())
    if branch.params < missing:
        total = evidence.trace.params_by_module["total"]
        detail.append(f"In all, {missing:,} of {total:,} parameters get no gradient.")
    return finding(
        "BEV601",
        f"{branch.path}: {branch.params:,} parameters get no gradient: {branch.reason}",
        document=evidence.document,
        key=key,
        module=branch.path,
        detail=tuple(detail),
    )
