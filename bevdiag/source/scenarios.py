"""The traces that a repository's step needs: counts at both ends, branches both ways."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch

from bevdiag.children import Tell, exhausts_host
from bevdiag.errors import BevdiagError
from bevdiag.memory.device import make_target
from bevdiag.memory.simulate import simulate
from bevdiag.memory.workspaces import Bound
from bevdiag.source.failures import as_failure
from bevdiag.source.values import AssumedValues, Assumption, Scenario
from bevdiag.trace.rehearsal import Rehearsal
from bevdiag.trace.step import Trace

MOST_BRANCHES = 3
"""Sites of which every combination of ways is traced; of more, one at a time the other way."""
_GPU = "h200"
"""Traces are compared on one device; which one hardly matters to their order."""

TraceWith = Callable[[AssumedValues], Trace]


@dataclass(slots=True, kw_only=True)
class ChildResult:
    """What the child found: traces by scenario, and what there is to say of them."""

    traces: dict[Scenario, Trace] = field(default_factory=dict)
    assumptions: tuple[Assumption, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def has_range(self) -> bool:
        """Whether a count may be another."""
        return any(assumption.low != assumption.high for assumption in self.assumptions)

    def leave_open(self, failure: str) -> None:
        """Without an upper end no one can say that the step fits."""
        trace = self.traces[Scenario.EXPECTED]
        stream = replace(trace.stream, unmodelled=(*trace.stream.unmodelled, failure))
        self.traces[Scenario.EXPECTED] = replace(trace, stream=stream)


class Scenarios:
    """Traces a step as often as its unknown values ask for.

    Args:
        trace: records the step with the values that it is given.
        pins: counts by site, from the user.
        rehearsal: answers by a real run, None where nothing is rehearsed.
    """

    def __init__(
        self, trace: TraceWith, pins: Mapping[str, int], rehearsal: Rehearsal | None
    ) -> None:
        self._trace = trace
        self._pins = pins
        self._rehearsal = rehearsal
        self._open: list[str] = []

    def run(self, findings: list[str], tell: Tell) -> ChildResult:
        """The expected trace, and those with the least and the most memory.

        `tell` hears the result so far before each trace that follows the expected one.

        Raises:
            Exception: what the code raised where the step fails with the expected values.
        """
        result = ChildResult()
        values = self._values(Scenario.EXPECTED, {})
        try:
            result.traces[Scenario.EXPECTED] = self._trace(values)
        except Exception:
            findings += self._not_rehearsed()
            raise
        result.assumptions = (*values.assumptions.values(), *_branches(values.branches_met))
        self._note_open(values)
        known = set(values.branches_met)
        for scenario, ways in self._others(values, result):
            result.findings = tuple(dict.fromkeys(findings))
            tell(result)
            values = self._values(scenario, ways)
            try:
                trace = self._trace(values)
            except Exception as error:
                if exhausts_host(error):
                    raise
                why = error if isinstance(error, BevdiagError) else as_failure(error)
                failure = f"with {_named(scenario, ways)} the step fails: {why}"
                findings.append(failure)
                if scenario is Scenario.HIGH and not ways:
                    self._open.append(failure)
            else:
                self._note_open(values)
                for site in sorted(values.branches_met.keys() - known):
                    # Behind the other way of a branch: its own other way was not traced.
                    known.add(site)
                    self._open.append(
                        f"{site}: a branch on a value that nobody computed, met only with "
                        f"{_named(scenario, ways)}; it was traced one way"
                    )
                _insert(result, scenario if not ways else None, trace)
        for sentence in self._open:
            result.leave_open(sentence)
        findings += self._open
        findings += self._not_rehearsed()
        return result

    def _not_rehearsed(self) -> list[str]:
        failure = self._rehearsal.failure if self._rehearsal is not None else ""
        return [f"the step could not be rehearsed: {failure}"] if failure else []

    def _values(self, scenario: Scenario, ways: Mapping[str, bool]) -> AssumedValues:
        return AssumedValues(scenario, self._pins, self._rehearsal, ways)

    def _others(
        self, first: AssumedValues, result: ChildResult
    ) -> Iterator[tuple[Scenario, dict[str, bool]]]:
        if result.has_range:
            yield Scenario.LOW, {}
            yield Scenario.HIGH, {}
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
            if result.has_range:
                yield Scenario.HIGH, ways

    def _note_open(self, values: AssumedValues) -> None:
        self._open += [sentence for sentence in values.open if sentence not in self._open]


def _branches(met: Mapping[str, bool]) -> Iterator[Assumption]:
    for site in met:
        yield Assumption(
            site=f"{site}:branch",
            low=0,
            expected=1,
            high=1,
            used=1,
            why="a branch on a value that nobody computed: the step was traced both ways (1: the "
            "condition holds)",
        )


def _named(scenario: Scenario, ways: Mapping[str, bool]) -> str:
    if not ways:
        return f"the {scenario.value} counts"
    sites = ", ".join(f"{site} {'true' if way else 'false'}" for site, way in ways.items())
    return f"the branch at {sites}"


def _insert(result: ChildResult, scenario: Scenario | None, trace: Trace) -> None:
    """Keep the trace if it is the least or the most; one of a branch may be either."""
    peak = _peak_bytes(trace)
    if scenario is not None:
        result.traces[scenario] = trace
        return
    low = result.traces.get(Scenario.LOW, result.traces[Scenario.EXPECTED])
    high = result.traces.get(Scenario.HIGH, result.traces[Scenario.EXPECTED])
    result.traces.setdefault(Scenario.LOW, low)
    result.traces.setdefault(Scenario.HIGH, high)
    if peak < _peak_bytes(low):
        result.traces[Scenario.LOW] = trace
    if peak > _peak_bytes(high):
        result.traces[Scenario.HIGH] = trace


def _peak_bytes(trace: Trace) -> int:
    target = make_target(torch=torch.__version__, gpu=_GPU)
    profile = simulate(trace.stream, target, until_oom=False, bound=Bound.HIGH)
    return profile.peak_reserved_bytes
