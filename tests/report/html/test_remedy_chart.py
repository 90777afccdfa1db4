from dataclasses import replace

import pytest

from bevdiag.report.html.remedy_chart import remedy_chart, ticks_up_to
from bevdiag.report.html.report_pages import inspect_page


def test_remedies_are_points_of_memory_against_compute(drawn):
    assert remedy_chart(drawn) is None
    halved = replace(drawn.remedies[0], flops=5 * 10**11)
    report = replace(drawn, flops=10**12, remedies=(halved, *drawn.remedies[1:]))
    chart = remedy_chart(report)
    now, point = chart["points"]
    assert now["name"] == "as it is"
    assert float(point["x"]) < float(now["x"])
    assert float(point["y"]) > float(now["y"])
    assert "50 % of the compute" in point["tells"]
    assert point["tells"] in inspect_page(report)


def test_the_mark_beside_a_remedy_is_what_the_step_reserves_now(drawn):
    peak = replace(drawn.peak, reserved_bytes=4 * 2**30, high_reserved_bytes=9 * 2**30)
    halved = replace(drawn.remedies[0], reserved_bytes=2 * 2**30)
    page = inspect_page(replace(drawn, peak=peak, remedies=(halved,)))
    section = page.partition('id="remedies-title"')[2].partition("</section>")[0]
    assert 'width="50.00"' in section
    assert 'x1="100.00"' in section


@pytest.mark.parametrize("most", [0.7, 1, 3.2, 9.9, 116, 227, 1000])
def test_ticks_are_round_and_few(most):
    ticks = ticks_up_to(most)
    assert 3 <= len(ticks) <= 11
    assert ticks[0] == 0
    assert ticks[-1] <= most
