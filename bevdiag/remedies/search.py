"""The one search for plans: every change alone, then sets of them, the cheapest first.

`bevdiag fix` writes what it finds, `bevdiag inspect` shows it. What the user's code may lack is
never taken where something else fits.
"""

from collections.abc import Callable, Sequence
from itertools import islice

from bevdiag.errors import BevdiagError
from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.plan import Plan, Plans
from bevdiag.prediction.step_source import ConfigSource, Recorded
from bevdiag.remedies.sets import (
    Ids,
    frontier_of,
    plan_of,
    plan_set,
    refused_set,
    strongest_set,
    worth_tracing,
)
from bevdiag.rules.checks import fixes_of
from bevdiag.trace.workers import Map, usable_cores, workers

Progress = Callable[[str, float], None]

_MOST_SETS = 24
"""Sets of several that are traced before the strongest of all is."""


def search_plans(
    source: ConfigSource,
    goal: DeviceTarget,
    base: Plan,
    progress: Progress,
    *,
    unsafe: bool = False,
) -> Plans:
    """Trace every change alone, then sets, until one fits.

    Args:
        source: the config as it can be traced; the edits that led to it are part of every plan.
        goal: what must be fitted; it has a capacity.
        base: what the source's step comes to.
        progress: hears what is traced, and the share that is done.
        unsafe: whether unsafe changes may take part.
    """
    known = {fix.id: fix for fix in fixes_of(source)}

    def attempt(ids: Ids) -> Plan:
        return plan_set(source, goal, ids, known)

    def refuse(ids: Ids, error: BevdiagError) -> Plan:
        return refused_set(ids, known, error)

    source.input()  # before the workers fork, so that they share it
    limit = source.options.timeout_seconds
    with workers(attempt, died=refuse, timeout_seconds=limit) as traced:
        singles = []
        for number, plan in enumerate(traced([(name,) for name in known])):
            progress(plan.changes[0].title, 0.5 * number / len(known))
            singles.append(plan)
        allowed = [single for single in singles if unsafe or not single.unsafe]
        combined = _combined(base, allowed, goal, traced, progress)
    plans = [*allowed, *combined]
    return Plans(
        singles=tuple(singles),
        combined=tuple(combined),
        frontier=frontier_of([base, *plans]),
        chosen=min((p for p in plans if p.fits), key=lambda plan: plan.preference, default=None),
    )


def _combined(
    base: Plan,
    singles: Sequence[Plan],
    goal: DeviceTarget,
    traced: Map[Ids, Plan],
    progress: Progress,
) -> list[Plan]:
    """Sets of several, the cheapest first, until one fits; else the strongest of all."""
    assert goal.capacity_bytes is not None
    ready = [single for single in singles if single.fits and not single.needs]
    below = min((single.prices for single in ready), default=None)
    sets = worth_tracing(base, singles, goal.capacity_bytes, below)
    tried: list[Plan] = []
    while len(tried) < _MOST_SETS and (batch := list(islice(sets, usable_cores()))):
        progress(f"combinations: {len(tried)} so far", 0.5 + 0.4 * len(tried) / _MOST_SETS)
        tried.extend(traced(batch))
        if any(plan.fits and not plan.needs for plan in tried):
            break
    strongest = strongest_set(base, singles)
    if len(strongest) > 1 and strongest not in {plan.ids for plan in tried}:
        tried.extend(traced([strongest]))
    if tried and tried[-1].fits and not any(plan.fits for plan in [*singles, *tried[:-1]]):
        tried.extend(_without_needless(tried[-1], traced))
    return tried


def _without_needless(found: Plan, traced: Map[Ids, Plan]) -> list[Plan]:
    """Smaller sets that fit too, each without the dearest change that can be spared."""
    smaller: list[Plan] = []
    while len(ids := found.ids) > 2:
        fewer = [tuple(name for name in ids if name != left_out) for left_out in ids]
        fitting = [plan for plan in traced(fewer) if plan.fits]
        if not fitting:
            break
        found = min(fitting, key=lambda plan: plan.preference)
        smaller.append(found)
    return smaller


def plans_for(source: ConfigSource, recorded: Recorded, progress: Progress) -> Plans:
    """What `bevdiag fix` would find for a step that an inspection has recorded already."""
    goal = source.target()
    return search_plans(source, goal, plan_of(source, recorded, goal), progress)
