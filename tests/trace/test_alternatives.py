from typing import Any

import pytest
import torch

from bevdiag.memory.events import EventStream
from bevdiag.trace import alternatives as scenarios
from bevdiag.trace.alternatives import Scenarios
from bevdiag.trace.assumed_values import AssumedValues
from bevdiag.trace.rehearsal import Question
from bevdiag.trace.step import Trace


def _asked(values: AssumedValues, place: str) -> bool:
    unknown = torch.empty((), device="meta") > 0
    return values.branch(unknown, Question("number", place, "", 0))


def _empty() -> Trace:
    empty = dict.fromkeys(Trace.__dataclass_fields__, ())
    return Trace(**{**empty, "stream": EventStream(events=[], num_steps=2)})  # type: ignore[arg-type]


def test_a_branch_that_cannot_be_traced_leaves_the_step_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trace(values: AssumedValues) -> Trace:
        if not _asked(values, "a.py:1"):
            raise FloatingPointError("not finite")
        return _empty()

    monkeypatch.setattr(scenarios, "_peak_bytes", lambda _: 0)
    result = Scenarios(trace, {}, None).run([])
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
        result = Scenarios(trace, {}, None).run([])
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
    Scenarios(trace, {}, None).run(findings, lambda _: None)
    assert [said for said in findings if said.startswith("b.py:2")]
    assert not [said for said in findings if said.startswith("a.py:1")]
