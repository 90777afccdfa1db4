"""Rules about the memory that a step may take, and what it took before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bevdiag.memory.sizes import apart, format_size
from bevdiag.memory.verdict import Verdict
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Finding, TraceEvidence
from bevdiag.rules.smaller_step import fixes

over_budget_fixes = fixes


def over_budget(evidence: TraceEvidence) -> Iterator[Finding]:
    """The step reserves more memory than the GPU or the budget has.

    What it means: The allocator must hold more from CUDA at some moment of the step than is usable,
        so the step ends in an out-of-memory error.
    Why it happens: The report's peak names the moment and who is alive then; the other findings say
        why it is as high as it is.
    How to fix: Take one of the remedies below the findings. A second GPU does not help a single
        sample: data parallelism splits batches, never samples.
    Seen in: open-mmlab/OpenPCDet#140: PV-RCNN at batch size 1 on 11 GB, where another card changed
        nothing and a smaller RoI grid did.
    """
    capacity = evidence.target.capacity_bytes
    if capacity is None or evidence.verdict is not Verdict.OVER:
        return
    reserved, usable = apart(evidence.profile.max_reserved_bytes, capacity)
    yield finding(
        "BEV301",
        f"the step reserves {reserved} where {usable} are usable",
        module=evidence.profile.peak.module,
    )


def budget_depends_on_values(evidence: TraceEvidence) -> Iterator[Finding]:
    """The step is expected to fit, but values that training changes can push it over.

    What it means: At the expected counts the step fits; at their upper end it does not. "Fits" is
        said of the upper end only.
    Why it happens: Some sizes follow from feature values rather than from the config: the voxels
        that a focal module keeps, the points of a scene. They move while the model learns.
    How to fix: Bound the count (a top-k instead of a threshold, a cap on voxels), leave more room,
        or pin the count with --assume where you know it.
    Seen in: DerrickXuNu/OpenCOOD#42: memory that varies a lot while the same model trains.
    """
    capacity = evidence.target.capacity_bytes
    if capacity is None or evidence.verdict is not Verdict.DEPENDS:
        return
    if evidence.target.doubt_bytes and evidence.high.max_reserved_bytes <= capacity:
        return  # it is the capacity that is in doubt: BEV308
    expected, usable, highest = apart(
        evidence.profile.max_reserved_bytes, capacity, evidence.high.max_reserved_bytes
    )
    yield finding(
        "BEV302",
        f"the step is expected to reserve {expected} of {usable}, but may need {highest}: it "
        "depends on values that training changes",
        module=evidence.high.peak.module,
    )


def within_margin(evidence: TraceEvidence) -> Iterator[Finding]:
    """The step fits, but by less than is unknown about the GPU.

    What it means: What is left of the GPU's memory is less than what the process holds outside of
        PyTorch's allocator, and that was measured on another GPU than this one. Where it is even
        less than the widest differences that were measured (between two drivers' totals of one GPU,
        between two stacks' contexts), no verdict is given.
    Why it happens: What CUDA's context and the kernels of PyTorch, cuDNN and spconv take depends on
        the driver and the GPU. Where no profile of the GPU is at hand, that of the H200 is taken. A
        display or another process on the GPU takes its share as well, which --margin leaves free.
    How to fix: Measure the GPU once with `bevdiag calibrate` and inspect with its profile, or leave
        more room with one of the remedies.
    Seen in: pytorch/pytorch#12873: hundreds of MiB of context that no count of tensors shows.
    """
    target = evidence.target
    if target.capacity_bytes is None:
        return
    goal = target.gpu or "the budget"
    room = target.capacity_bytes - evidence.high.max_reserved_bytes
    if evidence.verdict is Verdict.DEPENDS and target.doubt_bytes and room >= 0:
        yield finding(
            "BEV308",
            f"{format_size(room)} of {goal} are left, and it may have "
            f"{format_size(target.doubt_bytes)} less than assumed",
            module=evidence.high.peak.module,
        )
    elif evidence.verdict is not Verdict.FITS or target.is_capped:
        return
    elif target.profile is None and room < target.context_bytes:
        left = (
            f"with {format_size(room)} to spare"
            if room >= 0
            else "where the allocator gives cached memory back on the way"
        )
        yield finding(
            "BEV308",
            f"the step fits {goal} {left}, but the CUDA context "
            f"is only taken to be {format_size(target.context_bytes)}, that of another GPU",
            module=evidence.high.peak.module,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineGrowth:
    """A figure beyond what the baseline recorded; `what` is peak, reserved or a module's path."""

    what: str
    before_bytes: int
    now_bytes: int


def grown_since_baseline(growth: Sequence[BaselineGrowth]) -> Iterator[Finding]:
    """The step takes more memory than when its baseline was recorded.

    What it means: The peak, or what is reserved at most, exceeds the recorded figure by more than
        the tolerance. The modules that keep more for the backward pass than they did are named with
        it.
    Why it happens: A change of the config, of the code behind --source, or of the library versions
        that the prediction is for; the last are reported beside the finding where they differ.
    How to fix: Undo the change, or accept it and record the new state: bevdiag baseline write FILE
        CONFIG.
    Seen in: facebookresearch/detectron2#1616: training went from 3 to 5.7 GB between two releases,
        and was noticed on the GPU.
    """
    if growth:
        yield finding(
            "BEV311",
            f"{_change(growth[0])} since the baseline",
            detail=tuple(_change(change) for change in growth[1:]),
        )


def _change(growth: BaselineGrowth) -> str:
    more = growth.now_bytes - growth.before_bytes
    was, now = apart(growth.before_bytes, growth.now_bytes)
    return f"+{format_size(more)} in {growth.what} (from {was} to {now})"
