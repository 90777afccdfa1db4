"""The one search for plans: changes alone and sets of them, the cheapest first.

`bevdiag fix` writes what it finds, `bevdiag inspect` shows it. What the user's code may lack is
never taken where something else fits.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from bevdiag.errors import BevdiagError
from bevdiag.memory.device import DeviceTarget
from bevdiag.prediction.options import Progress
from bevdiag.prediction.result import Plan, Plans
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
from bevdiag.rules.finding import Fix
from bevdiag.trace.workers import Map, workers

Counts = dict[Any, Any]
"""What variants of a config have settled, see `Shared`."""

_MOST_SETS = 24
"""Sets of several that are traced before the strongest of all is."""


def search_plans(
    source: ConfigSource,
    goal: DeviceTarget,
    base: Plan,
    progress: Progress,
    *,
    unsafe: bool = False,
) -> tuple[Plans, Recorded | None]:
    """Trace changes alone and in sets, the cheapest first, until one fits.

    Dearer changes are traced only where nothing cheaper fits, those that the user's code may lack
    behind all that it has, and what may not take part last of all, for what it would come to;
    where the user asked for remedies, every change is traced alone, and the strongest together.

    Args:
        source: the config as it can be traced; the edits that led to it are part of every plan.
        goal: what must be fitted; it has a capacity.
        base: what the source's step comes to.
        progress: hears what is traced, and the share that is done.
        unsafe: whether unsafe changes may take part.

    Returns:
        What was traced, and the step of the plan to take.
    """
    known = {fix.id: fix for fix in fixes_of(source)}

    counts = source.shared.counts

    def attempt(task: tuple[Ids, Counts]) -> tuple[Plan, Recorded | None, Counts]:
        ids, learnt = task
        counts.update(learnt)
        before = set(counts)
        plan, recorded = plan_set(source, goal, ids, known)
        return plan, recorded, {key: counts[key] for key in counts.keys() - before}

    def refuse(
        task: tuple[Ids, Counts], error: BevdiagError
    ) -> tuple[Plan, Recorded | None, Counts]:
        return refused_set(task[0], known, error), None, {}

    steps: dict[Ids, Recorded | None] = {}

    everything = bool(source.options.remedies)
    rounds = [list(known)] if everything else _rounds(known, unsafe=unsafe)
    source.input()  # before the workers fork, so that they share it
    shared = set(counts)
    limit = source.options.timeout_seconds
    singles: list[Plan] = []
    allowed: list[Plan] = []
    tried: list[Plan] = []
    has_fit = False
    with workers(attempt, died=refuse, timeout_seconds=limit) as attempted:

        def traced(sets: Sequence[Ids]) -> Iterator[Plan]:
            # What one plan's worker has settled, others need not settle again.
            learnt = {key: counts[key] for key in counts.keys() - shared}
            for plan, recorded, settled in attempted([(ids, learnt) for ids in sets]):
                counts.update(settled)
                steps[plan.ids] = recorded
                yield plan

        alone = (plan for sets in _begun(rounds, known) for plan in traced(sets))
        for ids in rounds:
            for plan in islice(alone, len(ids)):
                singles.append(plan)
                progress(plan.changes[0].title, 0.5 * len(singles) / len(known))
            singles.sort(key=lambda plan: list(known).index(plan.id))
            allowed = [single for single in singles if unsafe or not single.unsafe]
            tried += _combined(base, allowed, tried, goal, traced, progress)
            if has_fit := any(plan.fits for plan in [*allowed, *tried]):
                break
        strongest = strongest_set(base, allowed) if everything or not has_fit else ()
        if len(strongest) > 1 and strongest not in {plan.ids for plan in tried}:
            tried.extend(traced([strongest]))
            if tried[-1].fits and not has_fit:
                tried.extend(_without_needless(tried[-1], traced))
    plans = [*allowed, *tried]
    chosen = min((p for p in plans if p.fits), key=lambda plan: plan.preference, default=None)
    found = Plans(
        singles=tuple(singles),
        combined=tuple(tried),
        frontier=frontier_of([base, *plans]),
        chosen=chosen,
    )
    return found, None if chosen is None else steps[chosen.ids]


def _rounds(known: Mapping[str, Fix], *, unsafe: bool) -> list[list[str]]:
    """Group the changes by what a plan with one of them costs at least, the cheapest first."""
    rounds: dict[tuple[bool, bool, int], list[str]] = {}
    for name, change in known.items():
        is_shown_only = bool(change.unsafe) and not unsafe
        # Among those that may be lacking the members' prices decide, whichever they are.
        price = 0 if change.needs or is_shown_only else change.price
        rounds.setdefault((is_shown_only, bool(change.needs), price), []).append(name)
    return [rounds[bound] for bound in sorted(rounds)]


def _begun(rounds: Sequence[Sequence[str]], known: Mapping[str, Fix]) -> Iterator[list[Ids]]:
    """Join a round that leaves nothing to combine with the next, which it may not keep waiting."""
    together: list[Ids] = []
    groups: set[str] = set()
    for ids in rounds:
        together += [(name,) for name in ids]
        groups |= {known[name].group for name in ids}
        if len(groups) > 1:
            yield together
            together = []
    if together:
        yield together


def _combined(
    base: Plan,
    singles: Sequence[Plan],
    tried: Sequence[Plan],
    goal: DeviceTarget,
    traced: Map[Ids, Plan],
    progress: Progress,
) -> list[Plan]:
    """Try sets of several that were not tried yet, the cheapest first, until one fits."""
    assert goal.capacity_bytes is not None
    ready = [single for single in singles if single.fits and not single.needs]
    below = min((single.prices for single in ready), default=None)
    known = {plan.ids for plan in tried}
    sets = (
        ids for ids in worth_tracing(base, singles, goal.capacity_bytes, below) if ids not in known
    )
    new: list[Plan] = []
    # One by one, however many are traced side by side: the same plans on any number of cores.
    plans = traced(list(islice(sets, max(0, _MOST_SETS - len(known)))))
    for count, plan in enumerate(plans, len(known) + 1):
        new.append(plan)
        progress(f"combinations: {count} so far", 0.5 + 0.4 * count / _MOST_SETS)
        if plan.fits and not plan.needs:
            break
    return new


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
    """Find what `bevdiag fix` would for a step that an inspection has recorded already."""
    goal = source.target()
    return search_plans(source, goal, plan_of(source, recorded, goal), progress)[0]
