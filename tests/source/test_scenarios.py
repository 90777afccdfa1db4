from typing import Any

import pytest
import torch

from bevdiag.memory.events import EventStream
from bevdiag.source import scenarios
from bevdiag.source.scenarios import Scenarios
from bevdiag.source.values import AssumedValues, Scenario
from bevdiag.trace.rehearsal import Question
from bevdiag.trace.step import Trace


def _asked(values: AssumedValues, place: str) -> bool:
    unknown = torch.empty((), device="meta") > 0
    return values.branch(unknown, Question("number", place, "", 0))


def test_a_branch_behind_another_branch_leaves_the_step_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trace(values: AssumedValues) -> Any:
        if not _asked(values, "a.py:1"):
            _asked(values, "b.py:2")
        empty = dict.fromkeys(Trace.__dataclass_fields__, ())
        return Trace(**{**empty, "stream": EventStream(events=[], num_steps=2)})  # type: ignore[arg-type]

    monkeypatch.setattr(scenarios, "_peak_bytes", lambda _: 0)
    findings: list[str] = []
    Scenarios(trace, {}, {}).run(findings, lambda _: None)
    assert [said for said in findings if said.startswith("b.py:2")]
    assert not [said for said in findings if said.startswith("a.py:1")]


def _step_of(count: int) -> Trace:
    empty = dict.fromkeys(Trace.__dataclass_fields__, ())
    return Trace(**{**empty, "stream": EventStream(events=[], num_steps=count)})  # type: ignore[arg-type]


def test_scenes_of_their_own_are_traced_and_widen_the_counts() -> None:
    scenes = {Scenario.LOW: 10, Scenario.EXPECTED: 20, Scenario.HIGH: 30}
    traced: list[Scenario] = []

    def trace(values: AssumedValues) -> Any:
        traced.append(values.scenario)
        total = scenes[values.scenario]
        values.count(total, expected=total // 2, why="", question=Question("n", "a.py:1", "", 0))
        return _step_of(total)

    result = Scenarios(trace, {}, {}, scenes).run([], lambda _: None)
    assert traced == [Scenario.EXPECTED, Scenario.LOW, Scenario.HIGH]
    assert {s: t.stream.num_steps for s, t in result.traces.items()} == scenes
    (site,) = result.assumptions
    assert (site.low, site.expected, site.used, site.high) == (1, 10, 10, 30)


def test_one_scene_without_counts_is_traced_once() -> None:
    traced = []

    def trace(values: AssumedValues) -> Any:
        traced.append(values.scenario)
        return _step_of(2)

    Scenarios(trace, {}, {}, {Scenario.EXPECTED: 1}).run([], lambda _: None)
    assert traced == [Scenario.EXPECTED]
    Scenarios(trace, {}, {}, {Scenario.EXPECTED: 1, Scenario.HIGH: 2}).run([], lambda _: None)
    assert traced[1:] == [Scenario.EXPECTED, Scenario.HIGH]
