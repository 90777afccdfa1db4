from typing import Any

import pytest
import torch

from bevdiag.trace import alternatives as scenarios
from bevdiag.trace.alternatives import Scenarios
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.ledger import Ledger
from bevdiag.trace.step import Trace
from bevdiag.trace.unknown_values import Question


def _asked(values: AssumedValues, place: str) -> bool:
    unknown = torch.empty((), device="meta") > 0
    return values.branch(unknown, Question("number", place, "", 0))


def _empty() -> Trace:
    empty = dict.fromkeys(Trace.__dataclass_fields__, ())
    return Trace(**{**empty, "stream": Ledger().stream(2)})  # type: ignore[arg-type]


def test_a_branch_that_cannot_be_traced_leaves_the_step_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trace(values: AssumedValues) -> Trace:
        if not _asked(values, "a.py:1"):
            raise FloatingPointError("not finite")
        return _empty()

    monkeypatch.setattr(scenarios, "_peak_bytes", lambda _: 0)
    result = Scenarios(trace, {}, {}).run([])
    (sentence,) = result.expected.stream.unmodelled
    assert sentence == (
        "with the branch at a.py:1 false the step fails: FloatingPointError: not finite"
    )


def test_only_the_lower_end_may_fail() -> None:
    def trace(values: AssumedValues) -> Trace:
        count = values.count(10, expected=5, why="a test", kind="rows")
        if count == failing:
            raise ValueError(f"{count} rows")
        return _empty()

    for failing, is_open in ((1, False), (10, True)):
        result = Scenarios(trace, {}, {}).run([])
        assert bool(result.expected.stream.unmodelled) is is_open
        assert f"ValueError: {failing} rows" in result.findings[0]


def test_a_branch_behind_another_branch_leaves_the_step_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trace(values: AssumedValues) -> Any:
        if not _asked(values, "a.py:1"):
            _asked(values, "b.py:2")
        return _empty()

    monkeypatch.setattr(scenarios, "_peak_bytes", lambda _: 0)
    findings: list[str] = []
    Scenarios(trace, {}, {}).run(findings, lambda _: None)
    assert [said for said in findings if said.startswith("b.py:2")]
    assert not [said for said in findings if said.startswith("a.py:1")]


def _step_of(count: int) -> Trace:
    empty = dict.fromkeys(Trace.__dataclass_fields__, ())
    return Trace(**{**empty, "stream": Ledger().stream(count)})  # type: ignore[arg-type]


def test_scenes_of_their_own_are_traced_and_widen_the_counts() -> None:
    scenes = {Scenario.LOW: 10, Scenario.EXPECTED: 20, Scenario.HIGH: 30}
    traced: list[Scenario] = []

    def trace(values: AssumedValues) -> Any:
        traced.append(values.scenario)
        total = scenes[values.scenario]
        values.count(total, expected=total // 2, why="", question=Question("n", "a.py:1", "", 0))
        return _step_of(total)

    result = Scenarios(trace, {}, {}, scenes).run([])
    assert traced == [Scenario.EXPECTED, Scenario.LOW, Scenario.HIGH]
    assert {s: t.stream.num_steps for s, t in result.traces.items()} == scenes
    (site,) = result.assumptions
    assert (site.low, site.expected, site.used, site.high) == (1, 10, 10, 30)


def test_one_scene_without_counts_is_traced_once() -> None:
    traced = []

    def trace(values: AssumedValues) -> Any:
        traced.append(values.scenario)
        return _step_of(2)

    Scenarios(trace, {}, {}, {Scenario.EXPECTED: 1}).run([])
    assert traced == [Scenario.EXPECTED]
    Scenarios(trace, {}, {}, {Scenario.EXPECTED: 1, Scenario.HIGH: 2}).run([])
    assert traced[1:] == [Scenario.EXPECTED, Scenario.HIGH]
