"""The traces that a step needs: scenes and counts at both ends, branches both ways."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import gt, lt

import torch

from bevdiag.children import exhausts_host
from bevdiag.errors import BevdiagError
from bevdiag.memory.device import make_target
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
from bevdiag.scenes.scenario import Scenario
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.pins import Assumption
from bevdiag.trace.real_run import same_draws
from bevdiag.trace.rehearsal import Rehearsal, in_one_line
from bevdiag.trace.step import Trace

MOST_BRANCHES = 3
"""Sites of which every combination of ways is traced; of more, one at a time the other way."""
_GPU = "h200"
"""Traces are compared on one device; which one hardly matters to their order."""

TraceWith = Callable[[AssumedValues], Trace]


@dataclass(slots=True, kw_only=True)
class TracedStep:
    """Traces by scenario, and what there is to say of them.

    Attributes:
        num_points: of the batch, as a repository's data pipeline left it.
        num_voxels: likewise.
        unread: the keys of a config that nobody read, and what that means.
    """

    traces: dict[Scenario, Trace] = field(default_factory=dict)
    assumptions: tuple[Assumption, ...] = ()
    findings: tuple[str, ...] = ()
    num_points: int | None = None
    num_voxels: int | None = None
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def expected(self) -> Trace:
        """The trace with the expected counts."""
        return self.traces[Scenario.EXPECTED]

    def widen(self, met: Mapping[str, Assumption]) -> None:
        """Widen the counts' ends to those of another scene."""
        self.assumptions = tuple(
            site.widened(met[site.site]) if site.site in met else site for site in self.assumptions
        )

    def leave_open(self, failure: str) -> None:
        """Without an upper end no one can say that the step fits."""
        trace = self.traces[Scenario.EXPECTED]
        stream = replace(trace.stream, unmodelled=(*trace.stream.unmodelled, failure))
        self.traces[Scenario.EXPECTED] = replace(trace, stream=stream)


@dataclass(slots=True)
class Scenarios:
    """Traces a step as often as its unknown scene and values ask for.

    Attributes:
        trace: records the step with the values that it is given, on the scene of their scenario.
        pins: counts by site, from the user.
        rehearsals: answers by a real run of each scenario's own scene; empty where nothing is
            rehearsed.
        own_scenes: the scenarios that have a scene of their own.
        describe: says what an error of the model's code is.
    """

    trace: TraceWith
    pins: Mapping[str, int]
    rehearsals: Mapping[Scenario, Rehearsal]
    own_scenes: Collection[Scenario] = ()
    describe: Callable[[Exception], str] = in_one_line
    _open: list[str] = field(default_factory=list, init=False)

    def run(
        self, findings: list[str], tell: Callable[[TracedStep], object] = lambda _: None
    ) -> TracedStep:
        """Run the expected trace, and those with the least and the most memory.

        `tell` hears the result so far before each trace that follows the expected one. Whatever
        might be the most memory and cannot be traced leaves the step without an upper end.

        Raises:
            Exception: what the code raised where the step fails with the expected values.
        """
        result = TracedStep()
        values = self._values(Scenario.EXPECTED, {})
        try:
            result.traces[Scenario.EXPECTED] = self._traced(values)
        except Exception:
            findings += self._not_rehearsed()
            raise
        counts = tuple(values.assumptions.values())
        result.assumptions = (
            *counts,
            *_branches(values.branches_met, values.unrehearsed),
        )
        self._note_open(values)
        known = set(values.branches_met)
        has_range = any(count.low != count.high for count in counts)
        for scenario, ways in self._others(values, has_range):
            result.findings = tuple(dict.fromkeys(findings))
            tell(result)
            values = self._values(scenario, ways)
            try:
                trace = self._traced(values)
            except Exception as error:
                if exhausts_host(error):
                    raise
                why = str(error) if isinstance(error, BevdiagError) else self.describe(error)
                failure = f"with {_named(scenario, ways)} the step fails: {why}"
                findings.append(failure)
                if scenario is not Scenario.LOW:
                    self._open.append(failure)
            else:
                self._note_open(values)
                result.widen(values.assumptions)
                for site in sorted(values.branches_met.keys() - known):
                    # Behind the other way of a branch: its own other way was not traced.
                    known.add(site)
                    self._open.append(
                        f"{site}: a branch on a value that nobody computed, met only with "
                        f"{_named(scenario, ways)}; it was traced one way"
                    )
                if ways:
                    _keep_if_extreme(result.traces, trace)
                else:
                    result.traces[scenario] = trace
        for sentence in self._open:
            result.leave_open(sentence)
        findings += self._open
        findings += self._not_rehearsed()
        result.findings = tuple(dict.fromkeys(findings))
        return result

    def _traced(self, values: AssumedValues) -> Trace:
        with same_draws():
            return self.trace(values)

    def _not_rehearsed(self) -> list[str]:
        failures = dict.fromkeys(run.failure for run in self.rehearsals.values() if run.failure)
        return [f"the step could not be rehearsed: {failure}" for failure in failures]

    def _values(self, scenario: Scenario, ways: Mapping[str, bool]) -> AssumedValues:
        expected = self.rehearsals.get(Scenario.EXPECTED)
        rehearsal = self.rehearsals.get(scenario, expected)
        return AssumedValues(scenario, self.pins, rehearsal, ways)

    def _others(
        self, first: AssumedValues, has_range: bool
    ) -> Iterator[tuple[Scenario, dict[str, bool]]]:
        ends = [end for end in (Scenario.LOW, Scenario.HIGH) if has_range or end in self.own_scenes]
        for end in ends:
            yield end, {}
        sites = sorted(first.branches_met)
        if len(sites) <= MOST_BRANCHES:
            combinations: list[tuple[str, ...]] = [
                tuple(site for bit, site in enumerate(sites) if number >> bit & 1)
                for number in range(1, 1 << len(sites))
            ]
        else:
            combinations = [(site,) for site in sites]
            self._open.append(
                f"{len(sites)} branches depend on values that nobody computed ({sites[0]}, ...); "
                "not every combination of them was traced"
            )
        for chosen in combinations:
            ways = {site: not first.branches_met[site] for site in chosen}
            yield Scenario.EXPECTED, ways
            if Scenario.HIGH in ends:
                yield Scenario.HIGH, ways

    def _note_open(self, values: AssumedValues) -> None:
        self._open += [sentence for sentence in values.open if sentence not in self._open]


def _branches(met: Mapping[str, bool], unrehearsed: str) -> Iterator[Assumption]:
    for site in met:
        yield Assumption(
            site=f"{site}:branch",
            low=0,
            expected=1,
            high=1,
            used=1,
            why=f"a branch on a value that nobody computed ({unrehearsed}): the step was traced "
            "both ways (1: the condition holds)",
        )


def _named(scenario: Scenario, ways: Mapping[str, bool]) -> str:
    if not ways:
        return f"the {scenario.value} counts"
    sites = ", ".join(f"{site} {'true' if way else 'false'}" for site, way in ways.items())
    return f"the branch at {sites}"


def _keep_if_extreme(traces: dict[Scenario, Trace], trace: Trace) -> None:
    """Keep the trace of a branch if it is the least or the most; it may be either."""
    peak = _peak_bytes(trace)
    for end, is_beyond in ((Scenario.LOW, lt), (Scenario.HIGH, gt)):
        known = traces.setdefault(end, traces[Scenario.EXPECTED])
        if is_beyond(peak, _peak_bytes(known)):
            traces[end] = trace


def _peak_bytes(trace: Trace) -> int:
    target = make_target(torch=torch.__version__, gpu=_GPU)
    profile = simulate(trace.stream, target, until_oom=False, bound=Bound.HIGH)
    return profile.peak_reserved_bytes
