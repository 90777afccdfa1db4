"""Trace every candidate, then combine them until something fits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bevdiag.errors import BevdiagError
from bevdiag.memory.catalogue import find_gpu
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import Verdict, judge
from bevdiag.memory.workspaces import Bound
from bevdiag.models.bev import bev_joint
from bevdiag.prediction.result import Remedy
from bevdiag.prediction.session import Session, TracedVariant, Variant
from bevdiag.prediction.summary import unsplit_bytes, upper_end_bytes
from bevdiag.remedies.candidate import Candidate
from bevdiag.remedies.candidates import candidates
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.workers import Map, workers

Progress = Callable[[str, float], None]
Members = tuple[Candidate, ...]

GOAL_GPU = "rtx4090"
"""What remedies aim at where no budget is given: the largest common workstation card."""


@dataclass(frozen=True, slots=True)
class _Tried:
    members: Members
    remedy: Remedy

    @property
    def fits(self) -> bool:
        return self.remedy.verdict is Verdict.FITS

    @property
    def upper(self) -> int:
        """The upper end of the peak; what cannot be traced comes last."""
        return self.remedy.high_bytes if self.remedy.high_bytes is not None else 2**62


def remedy_goal(target: DeviceTarget) -> DeviceTarget:
    """What remedies must fit: the target, or `GOAL_GPU` where it has no capacity."""
    return target if target.capacity_bytes is not None else target.on(find_gpu(GOAL_GPU))


def search_remedies(
    session: Session, variant: Variant, goal: DeviceTarget, progress: Progress
) -> tuple[Remedy, ...]:
    """Every single change as traced, then the combinations that lead to one that fits the goal.

    Combinations are looked for only if no single change fits. They grow by the strongest change of
    each group, the cheapest first; of the first set that fits, what it fits without is dropped,
    the dearest first.
    """
    singles = [(candidate,) for candidate in candidates(variant, session.scene(variant))]
    session.settled(variant)  # before the workers fork, so that they share it

    def attempt(members: Members) -> _Tried:
        return _try(session, variant, goal, members)

    limit = session.options.timeout_seconds
    with workers(attempt, died=_refused, timeout_seconds=limit) as traced:
        tried = []
        for number, entry in enumerate(traced(singles)):
            progress(entry.remedy.title, number / (len(singles) + 4))
            tried.append(entry)
        if any(entry.fits for entry in tried):
            return tuple(entry.remedy for entry in tried)
        progress("combinations", len(singles) / (len(singles) + 4))
        return tuple(entry.remedy for entry in (*tried, *_combine(tried, traced)))


def _combine(singles: Sequence[_Tried], traced: Map[Members, _Tried]) -> list[_Tried]:
    strongest: dict[str, Candidate] = {}
    for entry in sorted(singles, key=lambda entry: entry.upper):
        if not entry.remedy.error:
            strongest.setdefault(entry.members[0].group, entry.members[0])
    order = tuple(sorted(strongest.values(), key=lambda candidate: candidate.price))
    path = []
    for entry in traced([order[:size] for size in range(2, len(order) + 1)]):
        path.append(entry)
        if entry.fits:
            return [*path, *_without_needless(entry, traced)]
    return path


def _without_needless(found: _Tried, traced: Map[Members, _Tried]) -> list[_Tried]:
    """Smaller sets that fit too, each without the dearest change that can be spared."""
    smaller: list[_Tried] = []
    while len(found.members) > 2:
        fewer = [
            tuple(member for member in found.members if member is not left_out)
            for left_out in found.members
        ]
        fitting = [entry for entry in traced(fewer) if entry.fits]
        if not fitting:
            break
        found = min(fitting, key=lambda entry: sum(member.price for member in entry.members))
        smaller.append(found)
    return smaller


def _try(session: Session, variant: Variant, goal: DeviceTarget, members: Members) -> _Tried:
    try:
        for candidate in members:
            variant = candidate.applied_to(variant)
        traced = session.trace(variant, (Scenario.EXPECTED, Scenario.HIGH))
    except BevdiagError as error:
        return _refused(members, error)
    return _Tried(members, _measured(traced, goal, members))


def _refused(members: Members, error: BevdiagError) -> _Tried:
    return _Tried(members, _remedy(members, Verdict.UNKNOWN, error=str(error)))


def _measured(traced: TracedVariant, goal: DeviceTarget, members: Members) -> Remedy:
    expected_trace = traced.traces[Scenario.EXPECTED]
    expected = simulate(expected_trace.stream, goal, until_oom=False)
    upper_trace = traced.traces.get(Scenario.HIGH, expected_trace)
    upper = simulate(upper_trace.stream, goal, until_oom=False, bound=Bound.HIGH)
    joint = bev_joint(traced.variant.config)
    return _remedy(
        members,
        judge(
            goal,
            expected_trace.stream,
            expected,
            upper_trace.stream,
            upper,
            unsplit_bytes=unsplit_bytes(upper),
        ),
        peak_allocated_bytes=expected.peak.allocated_bytes,
        high_bytes=upper_end_bytes(expected, upper),
        reserved_bytes=expected.peak_reserved_bytes,
        params=expected_trace.params_by_module["total"],
        bev_channels=joint.real if joint else None,
        flops=traced.flops,
    )


def _remedy(
    members: Members,
    verdict: Verdict,
    *,
    peak_allocated_bytes: int | None = None,
    high_bytes: int | None = None,
    reserved_bytes: int | None = None,
    params: int | None = None,
    bev_channels: int | None = None,
    flops: int | None = None,
    error: str = "",
) -> Remedy:
    return Remedy(
        id="+".join(candidate.id for candidate in members),
        title=", ".join(candidate.title for candidate in members),
        changes=tuple(line for candidate in members for line in candidate.described()),
        loses="; ".join(candidate.loses for candidate in members),
        verdict=verdict,
        peak_allocated_bytes=peak_allocated_bytes,
        high_bytes=high_bytes,
        reserved_bytes=reserved_bytes,
        params=params,
        bev_channels=bev_channels,
        flops=flops,
        combined=len(members) > 1,
        error=error,
    )
