from dataclasses import replace

from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import Layout
from bevdiag.report.text.peak import TOP_HOLDERS, write_peak

from .conftest import written


def _lines(report: Prediction, width: int = 120) -> list[str]:
    return written(write_peak, report, layout=Layout(width))


def test_categories_are_sorted_and_empty_ones_left_out(over: Prediction) -> None:
    text = "\n".join(_lines(over))
    assert text.index("  activation  ") < text.index("  workspace  ") < text.index("  gradient  ")
    assert "rulebook" not in text


def test_holders_tell_op_and_tensor_at_any_width(over: Prediction) -> None:
    for width in (80, 200):
        text = "\n".join(_lines(over, width))
        assert "spconv::dense" in text
        assert "1x128x175x202x502 float32" in text
        assert "12 times 464367x128 float32" in text


def test_small_holders_are_summed_up(over: Prediction) -> None:
    holder = replace(over.peak.holders[2], nbytes=2**20)
    holders = (*over.peak.holders[:2], *(holder for _ in range(TOP_HOLDERS)))
    text = "\n".join(_lines(replace(over, peak=replace(over.peak, holders=holders))))
    assert "and 2 more, 2.0 MiB together" in text


def test_an_exact_peak_has_no_range(over: Prediction) -> None:
    exact = replace(over.peak, low_bytes=over.peak.high_bytes)
    assert "between" not in "\n".join(_lines(replace(over, peak=exact)))


def test_an_empty_peak_divides_by_nothing(over: Prediction) -> None:
    empty = replace(over.peak, allocated_bytes=0, holders=(), by_category={})
    assert _lines(replace(over, peak=empty))
