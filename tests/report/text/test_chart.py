from dataclasses import replace

import pytest

from bevdiag.prediction.result import Prediction, TimelinePoint
from bevdiag.report.printable import Layout
from bevdiag.report.text.chart import write_chart

from .conftest import written


def _plain(report: Prediction, layout: Layout) -> list[str]:
    return written(write_chart, report, layout=layout)


def _with_sizes(report: Prediction, sizes: list[int]) -> Prediction:
    points = tuple(
        TimelinePoint(phase="forward", module="", allocated_bytes=size, reserved_bytes=size)
        for size in sizes
    )
    target = replace(report.target, capacity_bytes=None)
    return replace(report, timeline=points, target=target)


def test_no_timeline_no_chart(over: Prediction) -> None:
    assert written(write_chart, replace(over, timeline=())) == []


def test_a_single_moment_of_height_is_seen(over: Prediction) -> None:
    sizes = [10 * 2**30] * 1000
    sizes[500] = 100 * 2**30
    lines = _plain(_with_sizes(over, sizes), Layout(80))
    assert lines[2].startswith("    100 ")
    assert lines[2].count("\u2588") == 1


def test_phases_are_named_below_their_stretch(over: Prediction) -> None:
    lines = _plain(over, Layout(80))
    names = next(line for line in lines if "forward" in line and "optimizer" in line)
    axis = lines[lines.index(names) - 1]
    for phase in ("backward", "optimizer"):
        assert axis[names.index(phase)] == "\u252c"


def test_a_near_budget_is_drawn_and_a_far_one_is_not(over: Prediction) -> None:
    assert any("\u254c" * 10 in line for line in _plain(over, Layout(80)))
    far = replace(over, target=replace(over.target, capacity_bytes=500 * 2**30))
    assert not any("\u254c" * 10 in line for line in _plain(far, Layout(80)))


@pytest.mark.parametrize(
    ("size", "top"),
    [(100 * 2**30, "100"), (12 * 2**30, "12.5"), (2**29, "0.5"), (3 * 2**20, "0.005"), (0, "0")],
)
def test_the_axis_is_round_and_holds_the_curve(over: Prediction, size: int, top: str) -> None:
    label = _plain(_with_sizes(over, [size]), Layout(80))[2].split()[0]
    assert float(label) * 2**30 >= size
    assert label.startswith(top)


def test_ascii_chart(over: Prediction) -> None:
    assert all(line.isascii() for line in _plain(over, Layout(80, unicode=False)))
