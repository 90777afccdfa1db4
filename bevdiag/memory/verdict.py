"""Whether a step fits: said of the upper end, denied of the expected run, else it depends."""

from dataclasses import dataclass, replace

from bevdiag.errors import Verdict as Verdict
from bevdiag.memory.catalogue import all_gpus
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.events import EventStream
from bevdiag.memory.simulate import fits
from bevdiag.memory.workspaces import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFit:
    """The same step on one GPU of the catalogue. `needed_bytes` is the upper end of reserved."""

    gpu: str
    capacity_bytes: int
    verdict: Verdict


def judge(
    target: DeviceTarget,
    expected: EventStream,
    upper: EventStream,
    *,
    unsplit_bytes: int,
    expandable_segments: bool = False,
) -> Verdict:
    """Judge a step's memory on a target.

    Args:
        target: its capacity decides; without one there is no verdict.
        expected: the step with the expected counts.
        upper: the step at the upper end, which gets the largest workspaces.
        unsplit_bytes: what the upper end's blocks may count beyond their requests; so much must
            stay free, and what the capacity may be less than it is assumed to be.
        expandable_segments: judge a run with `expandable_segments:True`.
    """
    if expected.unmodelled or upper.unmodelled:
        return Verdict.UNKNOWN
    if target.capacity_bytes is None:
        return Verdict.NO_BUDGET

    if not fits(expected, target, expandable_segments=expandable_segments):
        return Verdict.OVER
    spared = unsplit_bytes + target.doubt_bytes
    with_room = replace(target, capacity_bytes=max(1, target.capacity_bytes - spared))
    # Larger requests may find better places: that they fit says nothing of the expected ones.
    if all(
        fits(
            stream,
            with_room,
            bound=bound,
            expandable_segments=expandable_segments,
            whatever_more=True,
        )
        for stream, bound in ((upper, Bound.HIGH), (expected, Bound.EXPECTED))
    ):
        return Verdict.FITS
    return Verdict.DEPENDS


def fit_on_gpus(
    target: DeviceTarget, expected: EventStream, upper: EventStream, *, unsplit_bytes: int
) -> tuple[GpuFit, ...]:
    """Judge the same step on the catalogue's usual GPUs, with the target's library versions."""
    fits_on = []
    for gpu in all_gpus():
        candidate = target.on(gpu)
        if gpu.is_shown:
            assert candidate.capacity_bytes is not None
            fits_on.append(
                GpuFit(
                    gpu=gpu.name,
                    capacity_bytes=candidate.capacity_bytes,
                    verdict=judge(candidate, expected, upper, unsplit_bytes=unsplit_bytes),
                )
            )
    return tuple(fits_on)
