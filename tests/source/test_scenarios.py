from typing import Any

import pytest
import torch

from bevdiag.memory.events import EventStream
from bevdiag.source import scenarios
from bevdiag.source.scenarios import Scenarios
from bevdiag.source.values import AssumedValues
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
