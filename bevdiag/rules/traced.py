"""Rules about what a traced step does in vain, and what it had to guess or replace."""

from collections.abc import Iterable, Iterator

from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding, StepEvidence, TraceEvidence

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
_OF_LEAVES = ("adam_onecycle", "adam_cosineanneal")
"""OpenPCDet's optimizers that collect the parameters of leaf modules."""


def parameters_without_gradient(evidence: TraceEvidence) -> Iterator[Finding]:
    """Parameters that no gradient reaches after a whole step.

    What it means: The parameters cost memory and never learn; under DistributedDataParallel they
        stop the run. A module whose parameters all lack a gradient is a dead branch: something
        reads past it.
    What is printed:
        Expected to have finished reduction in the prior iteration before starting a new one
    Why it happens: Modules hand each other tensors by name in one dict, and a later module can read
        the tensor of an earlier one than was meant. A hard threshold passes no gradient either.
    How to fix: Let the consumer read the branch's own tensor, add the branch's loss to the
        detector's, or take the branch out.
    Seen in: AutoVision-cloud/SA-Det3D#7: training on several GPUs stops because 22 parameters of
        the attention modules receive no gradient.
    """
    for branch in evidence.trace.wiring.dead_branches:
        if not branch.params:
            continue
        key, lesson = _SWITCHES.get(branch.path, ("", ""))
        if evidence.document.get(key) is None:
            key, lesson = "", ""
        detail = [lesson] if lesson else []
        missing = sum(evidence.trace.params_without_grad.values())
        if branch.params < missing:
            total = evidence.trace.params_by_module["total"]
            detail.append(f"In all, {missing:,} of {total:,} parameters get no gradient.")
        yield finding(
            "BEV601",
            f"{branch.path}: {branch.params:,} parameters get no gradient: {branch.reason}",
            key=key,
            module=branch.path,
            detail=tuple(detail),
        )


def parameters_not_optimized(evidence: TraceEvidence) -> Iterator[Finding]:
    """Parameters that get gradients but that the optimizer does not know.

    What it means: The parameters stay at their initial values for the whole run, though gradients
        are made for them in every step.
    Why it happens: OpenPCDet's adam_onecycle and adam_cosineanneal collect the parameters of leaf
        modules. Those that belong to a module with children, such as the input projection of
        nn.MultiheadAttention, are in none.
    How to fix: Take adam or sgd, which collect model.parameters(), or make the parameters a leaf
        module's own.
    Seen in: open-mmlab/OpenPCDet#845: the parameters that adam_onecycle steps are not those that
        its user thought; with adam they are.
    """
    missing = evidence.trace.params_not_optimized
    if not missing:
        return
    example = next(iter(missing))
    why = (
        f"{evidence.optimizer} collects leaf modules only, which leaves out"
        if evidence.optimizer in _OF_LEAVES
        else "the optimizer was not given"
    )
    yield finding(
        "BEV602",
        f"{sum(missing.values()):,} parameters in {len(missing)} tensors are never updated: "
        f"{why} {example} and its like",
        key="OPTIMIZATION.OPTIMIZER",
        module=example.rpartition(".")[0],
    )


def unused_output(evidence: TraceEvidence) -> Iterator[Finding]:
    """A module computes something that the loss never uses.

    What it means: The module runs in every training step and costs time and memory, but nothing
        that it makes leads to the loss. It has no parameters that would tell by their missing
        gradients.
    Why it happens: A later module reads another tensor than was meant, a value is written under a
        key that nobody reads, or a branch only serves inference.
    How to fix: Let the consumer read it, compute it only outside of training, or take it out. Its
        row in the report's section "Wiring" says where it leads.
    Seen in: open-mmlab/OpenPCDet#336: tensors that the batch dict keeps alive though no later
        module needs them.
    """
    for branch in evidence.trace.wiring.dead_branches:
        # A list of modules never runs itself, and what never runs computes nothing.
        if not branch.params and branch.path in evidence.trace.departures:
            yield finding(
                "BEV604",
                f"{branch.path} computes what no loss uses: {branch.reason}",
                module=branch.path,
            )


def scalar_guessed(evidence: StepEvidence) -> Iterator[Finding]:
    """The model read a single number from its features, and the run had to guess it.

    What it means: On meta tensors features have shapes and no values, so a number read from them is
        made up. What depends on it may be another size on a GPU.
    Why it happens: Code calls item(), int() or float() on a feature, or branches on one.
    How to fix: Compute what sizes depend on from the coordinates, keep the number on the device, or
        measure with --device cuda.
    Seen in: pytorch/pytorch#126738: a memory estimate without a GPU that ends at the first number a
        model reads from a tensor.
    """
    for note in evidence.trace.notes:
        yield finding("BEV901", note)


def repository_stubbed(notes: Iterable[str]) -> Iterator[Finding]:
    """Something of the repository could not run here and had a stub.

    What it means: The model was built by the repository's own code, but a part of it (a compiled
        operation, a download, a library that is not installed) ran as a stub that makes the right
        shapes.
    Why it happens: --source runs code on the CPU without compiling or downloading anything.
    How to fix: Nothing is wrong with the config. Where the stub may ask for other memory than the
        original, the finding says so; installing the library removes it.
    Seen in: open-mmlab/OpenPCDet#348: a compiled operation that takes memory which no tool sees.
    """
    for note in notes:
        yield finding("BEV902", note)
