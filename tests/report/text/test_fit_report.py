import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from bevdiag.memory.verdict import Verdict
from bevdiag.remedies.results import FitPoint, FitReport
from bevdiag.report.as_json import as_json
from bevdiag.report.printable import Layout
from bevdiag.report.text.fit_report import answer, write_fit
from bevdiag.report.text.prose import rendered

Golden = Callable[[str, str], None]


@pytest.mark.parametrize("width", [80, 120])
def test_golden(fitted: FitReport, golden: Golden, width: int) -> None:
    text = rendered(Layout(width), write_fit, fitted)
    golden(f"fit_{width}.txt", text)
    assert max(map(cell_len, text.splitlines())) <= width


def test_golden_json(fitted: FitReport, golden: Golden) -> None:
    golden("fit.json", as_json(fitted))


def test_ascii_alone_where_nothing_else_can_be_shown(fitted: FitReport) -> None:
    assert rendered(Layout(unicode=False), write_fit, fitted).isascii()


def test_not_even_one(fitted: FitReport) -> None:
    none = replace(fitted, largest=None, points=fitted.points[-1:])
    assert answer(none).startswith("Not even one fits rtx4090")
    failed = FitPoint(value=1, verdict=Verdict.UNKNOWN, error="the grid collapses")
    assert "the grid collapses" in answer(replace(none, points=(failed,)))
    assert "the grid collapses" in rendered(Layout(), write_fit, replace(none, points=(failed,)))


def test_a_cap_beyond_the_scene(fitted: FitReport) -> None:
    cap = replace(fitted, knob="max-voxels", unit="voxels a sample", largest=8, binds_until=8)
    assert "a larger cap changes nothing" in answer(cap)
    assert json.loads(as_json(cap))["binds_until"] == 8
