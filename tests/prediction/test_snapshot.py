from typing import Any


def test_the_allocators_history_ends_at_the_reports_figures(small: Any) -> None:
    report = small.report(snapshot=True)
    assert report.snapshot is not None
    assert sum(item.size for item in report.snapshot.segments) == report.peak.reserved_bytes
    held = [block for item in report.snapshot.segments for block in item.blocks if block.cause]
    weights = sum(block.nbytes for block in held if block.cause.category.value == "parameter")
    assert weights >= 4 * report.params.total


def test_nothing_is_recorded_unasked(small: Any) -> None:
    assert small.report().snapshot is None
