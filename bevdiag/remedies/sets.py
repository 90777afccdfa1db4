"""Sets of changes: which are worth tracing, in which order, and what each comes to.

A set takes one change of a group at most. Sets are ordered by their dearest price, then the next
dearest, then by compute: one change to the model is dearer than any that cost only time. What a set
leaves is guessed from its members alone, as if each kept its share of the memory and the compute;
the guess only decides what is traced at all, never what is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import TypeVar

from bevdiag.config.edits import flow
from bevdiag.errors import BevdiagError, InputError
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.judged import judged
from bevdiag.prediction.result import Plan
from bevdiag.prediction.step_source import ENDS_THAT_JUDGE, ConfigSource, Recorded
from bevdiag.rules.checks import fixes_of
from bevdiag.rules.finding import Fix

Ids = tuple[str, ...]
Source = TypeVar("Source", bound=ConfigSource)

_ALLOWANCE = 1.5
"""A set whose guess is above the capacity by more than this is not worth tracing: shares multiply
within a third of what sets come to."""


def apply_set(source: ConfigSource, ids: Sequence[str]) -> tuple[ConfigSource, tuple[Fix, ...]]:
    """Make the changes one after the other, each as it is for what those before it left.

    Raises:
        BevdiagError: one cannot be made after the others, or leaves a config that makes no sense.
    """
    members: list[Fix] = []
    for wanted in ids:
        fix = next((found for found in fixes_of(source) if found.id == wanted), None)
        if fix is None:
            raise InputError(f"{wanted} cannot be made after {', '.join(m.id for m in members)}")
        source = with_fix(source, fix)
        members.append(fix)
    return source, tuple(members)


def with_fix(source: Source, fix: Fix) -> Source:
    """Return the source with this fix.

    Raises:
        BevdiagError: it leaves a config that makes no sense.
    """
    changed = source.run_with(batch_size=fix.batch_size, autocast=fix.autocast)
    return changed.edited(dict(fix.edits))


def plan_set(
    source: ConfigSource, goal: DeviceTarget, ids: Ids, known: Mapping[str, Fix]
) -> tuple[Plan, Recorded | None]:
    """Trace a set of changes and judge it; `known` describes those that cannot be made.

    Returns:
        The plan, and the recorded step where it fits.
    """
    try:
        changed, members = apply_set(source, ids)
        recorded = changed.record(ENDS_THAT_JUDGE)
    except BevdiagError as error:
        return refused_set(ids, known, error), None
    plan = plan_of(changed, recorded, goal, members)
    return plan, recorded if plan.fits else None


def refused_set(ids: Ids, known: Mapping[str, Fix], error: BevdiagError) -> Plan:
    """Make the plan of a set of changes of which only the refusal is known."""
    changes = tuple(known[name] for name in ids)
    return Plan(changes=changes, verdict=Verdict.UNKNOWN, error=str(error))


def plan_of(
    source: ConfigSource,
    recorded: Recorded,
    goal: DeviceTarget,
    changes: tuple[Fix, ...] = (),
) -> Plan:
    """Make the plan of a recorded step; the changes and the source's edits are what led to it."""
    step = judged(recorded.traces, goal)
    flops = step.trace.flops
    return Plan(
        changes=changes,
        edits={".".join(path): flow(value) for path, value in source.edits.items()},
        flops=None if flops is None else flops // source.batch_size,
        **step.figures(source.bev_channels),
    )


def worth_tracing(
    base: Plan, singles: Sequence[Plan], capacity_bytes: int, below: tuple[int, ...] | None
) -> Iterator[Ids]:
    """Yield sets of two and more that may fit, the cheapest first, members in the singles' order.

    Args:
        base: the config as it is.
        singles: every change that may take part, traced alone.
        capacity_bytes: what must hold the step.
        below: the prices of a set that fits already; dearer ones are not worth it.
    """
    groups: dict[str, list[Plan]] = {}
    for plan in singles:
        if plan.error == "" and _high(plan) < _high(base):
            groups.setdefault(plan.changes[0].group, []).append(plan)
    sets = []
    for picked in product(*([None, *plans] for plans in groups.values())):
        members = [plan for plan in picked if plan is not None]
        guess = _high(base) * prod(_high(plan) / _high(base) for plan in members)
        if len(members) > 1 and guess <= _ALLOWANCE * capacity_bytes:
            sets.append(members)
    sets.sort(key=lambda members: (any(plan.needs for plan in members), _cost(base, members)))
    for members in sets:
        if below is None or _cost(base, members)[0] < below:
            yield tuple(plan.id for plan in members)


def strongest_set(base: Plan, singles: Sequence[Plan]) -> Ids:
    """Return the change of each group that alone leaves the least."""
    strongest: dict[str, Plan] = {}
    for plan in sorted(singles, key=_high):
        if plan.error == "" and _high(plan) < _high(base):
            strongest.setdefault(plan.changes[0].group, plan)
    chosen = {plan.id for plan in strongest.values()}
    return tuple(plan.id for plan in singles if plan.id in chosen)


def frontier_of(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """Those that no other beats in both cost and memory, the cheapest first."""
    kept: list[Plan] = []
    for plan in sorted(plans, key=lambda plan: (plan.cost, _high(plan))):
        if plan.error == "" and (not kept or _high(plan) < _high(kept[-1])):
            kept.append(plan)
    return tuple(kept)


def _cost(base: Plan, members: Sequence[Plan]) -> tuple[tuple[int, ...], float, float]:
    prices = sorted((plan.changes[0].price for plan in members), reverse=True)
    shares = prod((plan.flops or 0) / (base.flops or 1) for plan in members)
    return tuple(prices), shares, prod(_high(plan) / _high(base) for plan in members)


def _high(plan: Plan) -> int:
    # What could not be traced has no upper end; it comes last.
    return plan.high_bytes if plan.high_bytes is not None else 2**62
