from dataclasses import replace

from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import Layout
from bevdiag.report.text.remedies import write_remedies

from .conftest import written


def _lines(report: Prediction, width: int = 120) -> list[str]:
    return written(write_remedies, report, layout=Layout(width))


def test_combinations_come_after_singles(over: Prediction) -> None:
    lines = _lines(over)
    combined = lines.index("  combined")
    assert next(i for i, line in enumerate(lines) if line.startswith("  max ")) < combined
    assert lines[combined + 1].startswith("  sparse_max+checkpoint ")


def test_the_difference_is_to_the_step_as_it_is(over: Prediction) -> None:
    row = next(line for line in _lines(over) if line.startswith("  max "))
    assert "67.00 GiB   -7.80 GiB" in row


def test_a_remedy_that_failed_says_why(over: Prediction) -> None:
    text = "\n".join(_lines(over))
    assert "could not be traced: the depth collapses to zero" in text


def test_singles_list_their_changes_and_combinations_refer_to_them(over: Prediction) -> None:
    lines = _lines(over, 80)
    combined = lines.index("  combined")
    assert any(line.strip().startswith("changes") for line in lines[:combined])
    assert not any(line.strip().startswith(("changes", "loses")) for line in lines[combined:])


def test_no_remedies_no_section(over: Prediction) -> None:
    assert written(write_remedies, replace(over, remedies=())) == []
