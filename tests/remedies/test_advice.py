from typing import Any

from bevdiag.memory.device import make_target
from bevdiag.memory.verdict import Verdict
from bevdiag.remedies.advice import advice_for

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
