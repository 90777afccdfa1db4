from dataclasses import replace
from typing import Any

from bevdiag.memory.device import DeviceTarget, make_target
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.step_source import Recorded
from bevdiag.remedies.advice import advice_for
from bevdiag.trace.kept_voxels import Scenario

GIB = 2**30


def test_what_stands_outside_the_config_is_traced_where_it_can_be(small: Any) -> None:
    source = small.source()
    plain = small.report()
    goal = make_target(torch="2.11.0", budget_bytes=GIB)
    advice = {entry.id: entry for entry in advice_for(source, goal, source.record())}
    assert list(advice) == ["expandable-segments", "autocast-bf16"]
    grown = advice["expandable-segments"]
    assert grown.verdict is Verdict.FITS
    assert grown.reserved_bytes is not None
    assert plain.peak.allocated_bytes <= grown.reserved_bytes < GIB
    half = advice["autocast-bf16"]
    assert half.high_bytes is not None
    assert half.high_bytes < plain.peak.high_bytes


def test_half_precision_is_no_advice_where_it_is_on_and_summing_needs_samples(small: Any) -> None:
    source = small.source(autocast="bf16", batch_size=2)
    goal = make_target(torch="2.11.0", budget_bytes=2**20)
    (grown, summed) = advice_for(source, goal, source.record())
    assert grown.verdict is Verdict.OVER
    assert "n times fewer samples than the 2 of OPTIMIZATION.BATCH_SIZE_PER_GPU" in summed.how


def test_segments_that_grow_are_judged_like_any_other_step(small: Any) -> None:
    source = small.source(autocast="bf16")
    recorded = source.record()
    trace = recorded.traces[Scenario.EXPECTED]

    def verdict(goal: DeviceTarget, step: Recorded = recorded) -> Verdict | None:
        return advice_for(source, goal, step)[0].verdict

    needed = advice_for(source, make_target(torch="2.11.0", budget_bytes=GIB), recorded)[0]
    assert needed.reserved_bytes is not None
    goal = make_target(torch="2.11.0", budget_bytes=2 * needed.reserved_bytes)
    assert verdict(goal) is Verdict.FITS
    # What the capacity may be less, and what is not modelled, are not forgotten.
    assert verdict(replace(goal, doubt_bytes=2 * needed.reserved_bytes)) is Verdict.DEPENDS
    unknown = replace(trace, stream=replace(trace.stream, unmodelled=("an operator",)))
    assert verdict(goal, replace(recorded, traces={Scenario.EXPECTED: unknown})) is Verdict.UNKNOWN
