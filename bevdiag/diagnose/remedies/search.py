"""Trace every candidate, then combine them until something fits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bevdiag.diagnose.bev import bev_joint
from bevdiag.diagnose.remedies.candidates import Candidate, candidates
from bevdiag.diagnose.result import Remedy, Verdict
from bevdiag.diagnose.session import Session, TracedVariant, Variant
from bevdiag.diagnose.verdict import judge, on_gpu
from bevdiag.errors import BevdiagError
from bevdiag.memory.catalogue import find_gpu
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
from bevdiag.trace.kept_voxels import Scenario

Progress = Callable[[str, float], None]

GOAL_GPU = "RTX4090"
"""Without a budget, combinations aim at the largest common workstation card."""


@dataclass(frozen=True, slots=True)
class _Tried:
    members: tuple[Candidate, ...]
    remedy: Remedy

    @property
    def upper(self) -> int:
        """The upper end of the peak; what cannot be traced comes last."""
        return self.remedy.high_bytes if self.remedy.high_bytes is not None else 2**62


def search_remedies(
    session: Session, variant: Variant, target: DeviceTarget, progress: Progress
) -> tuple[Remedy, ...]:
    """Every single change as traced, then the combinations on the way to one that fits.

    The goal is the target's capacity, or that of `GOAL_GPU` where none is given.
    """
    singles = list(candidates(variant, session.scene(variant)))
    tried = []
    for number, candidate in enumerate(singles):
        progress(candidate.title, number / (len(singles) + 2))
        tried.append(_try(session, variant, target, (candidate,)))
    goal = _goal(target)
    progress("combinations", (len(singles) + 1) / (len(singles) + 2))
    combined = _combine(session, variant, goal, tried)
    return tuple(entry.remedy for entry in (*tried, *combined))


def _goal(target: DeviceTarget) -> DeviceTarget:
    if target.capacity_bytes is not None:
        return target
    return on_gpu(target, find_gpu(GOAL_GPU))


def _combine(
    session: Session, variant: Variant, goal: DeviceTarget, singles: Sequence[_Tried]
) -> list[_Tried]:
    """Add the strongest change of each group until it fits, then drop what is not needed."""
    if any(entry.remedy.verdict is Verdict.FITS for entry in singles) and _has_goal(goal, singles):
        return []
    order = sorted(singles, key=lambda entry: entry.upper)
    best: dict[str, Candidate] = {}
    for entry in order:
        best.setdefault(entry.members[0].group, entry.members[0])
    members: tuple[Candidate, ...] = ()
    path: list[_Tried] = []
    for candidate in best.values():
        members = (*members, candidate)
        if len(members) == 1:
            continue
        entry = _try(session, variant, goal, members)
        path.append(entry)
        if entry.remedy.verdict is Verdict.FITS:
            return _without_needless(session, variant, goal, path)
    return path


def _has_goal(goal: DeviceTarget, singles: Sequence[_Tried]) -> bool:
    return goal.capacity_bytes is not None and any(
        entry.upper <= goal.capacity_bytes for entry in singles
    )


def _without_needless(
    session: Session, variant: Variant, goal: DeviceTarget, path: list[_Tried]
) -> list[_Tried]:
    """The same path, its last set without the members that it fits without."""
    members = path[-1].members
    for candidate in members[:-1]:
        fewer = tuple(member for member in members if member is not candidate)
        if len(fewer) < 2:
            break
        entry = _try(session, variant, goal, fewer)
        if entry.remedy.verdict is Verdict.FITS:
            members = fewer
            path.append(entry)
    return path


def _try(
    session: Session, variant: Variant, target: DeviceTarget, members: tuple[Candidate, ...]
) -> _Tried:
    try:
        for candidate in members:
            variant = candidate.applied_to(variant)
        traced = session.trace(variant, (Scenario.EXPECTED, Scenario.HIGH))
    except BevdiagError as error:
        return _Tried(members, _remedy(members, Verdict.UNKNOWN, error=str(error)))
    return _Tried(members, _measured(traced, target, members))


def _measured(
    traced: TracedVariant, target: DeviceTarget, members: tuple[Candidate, ...]
) -> Remedy:
    expected_trace = traced.traces[Scenario.EXPECTED]
    expected = simulate(expected_trace.stream, target, until_oom=False)
    upper_trace = traced.traces.get(Scenario.HIGH, expected_trace)
    upper = simulate(upper_trace.stream, target, until_oom=False, bound=Bound.HIGH)
    verdict = judge(target, expected_trace.stream, expected, upper_trace.stream, upper)
    return _remedy(
        members,
        verdict,
        peak_allocated_bytes=expected.peak.allocated_bytes,
        high_bytes=upper.peak.allocated_bytes,
        reserved_bytes=expected.peak_reserved_bytes,
        params=expected_trace.params_by_module["total"],
        bev_channels=bev_joint(traced.variant.config).real,
    )


def _remedy(
    members: tuple[Candidate, ...],
    verdict: Verdict,
    *,
    peak_allocated_bytes: int | None = None,
    high_bytes: int | None = None,
    reserved_bytes: int | None = None,
    params: int | None = None,
    bev_channels: int | None = None,
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
        combined=len(members) > 1,
        error=error,
    )
