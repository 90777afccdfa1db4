import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from bevdiag.prediction.result import ConfigReport
from bevdiag.report.html.remedy_chart import remedy_chart, ticks_up_to
from bevdiag.report.html.report_pages import compare_page, config_page, inspect_page
from bevdiag.report.text.compare_report import variant_label
from bevdiag.rules.finding import Severity
from bevdiag.rules.pages import rule_page

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u202egnp"


def policy_of(page):
    return re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")


def test_the_verdict_stands_first(drawn):
    page = inspect_page(drawn)
    assert page.index("Does not fit A100-80GB") < page.index("Memory over the step")
    for part in ("75.10 GiB", "BEV203", "22,400", "map_to_bev", "RTX 4090"):
        assert part in page


def test_the_policy_admits_its_own_style_and_script_and_nothing_else(drawn):
    page = inspect_page(drawn)
    policy = policy_of(page)
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_nothing_is_fetched_and_no_handler_or_style_stands_in_the_markup(drawn, compared):
    for page in (inspect_page(drawn), compare_page(compared)):
        assert not re.search(r"src\s*=", page)
        assert set(re.findall(r"href\s*=\s*(..)", page)) <= {'"#'}
        assert not re.search(r"<[^>]+\s(?:style|on\w+)\s*=", page)


def test_names_reach_neither_markup_nor_script(drawn):
    layers = (replace(drawn.layers[0], name=HOSTILE, type=HOSTILE), *drawn.layers[1:])
    alloc = drawn.blocks[1].alloc._replace(module=HOSTILE, op=HOSTILE)
    blocks = (replace(drawn.blocks[1], alloc=alloc),)
    findings = (replace(drawn.findings[0], message=HOSTILE, module=HOSTILE),)
    page = inspect_page(
        replace(drawn, config=HOSTILE, layers=layers, blocks=blocks, findings=findings)
    )
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    data = re.search(r'id="timeline-data">(.*?)</script>', page, re.DOTALL)[1]
    assert "<img src=x onerror=alert(1)>" in json.loads(data)["names"][0][0]


def test_a_config_that_cannot_run_shows_its_findings(over):
    report = ConfigReport(config="broken.yaml", findings=over.findings)
    page = config_page(report)
    assert "Cannot run" in page
    assert over.findings[0].code in page


def test_every_variant_has_a_row(compared):
    page = compare_page(compared)
    for variant in compared.variants:
        assert f"<code>{variant_label(variant, compared)}</code>" in page
    assert "could not be traced" in page


def test_the_same_report_makes_the_same_page(drawn):
    assert inspect_page(drawn) == inspect_page(drawn)


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


def test_the_worst_finding_stands_first(drawn):
    error = replace(drawn.findings[0], severity=Severity.ERROR)
    note = replace(error, code="BEV901", severity=Severity.INFO)
    page = inspect_page(replace(drawn, findings=(note, error)))
    assert page.index(f">{error.code}<") < page.index(">BEV901<")


def test_a_code_leads_to_its_rule_on_the_page(drawn, compared):
    pages = (
        inspect_page(drawn),
        compare_page(replace(compared, findings=drawn.findings)),
        config_page(ConfigReport(config="broken.yaml", findings=drawn.findings)),
    )
    for page in pages:
        linked = set(re.findall(r'href="#(rule-BEV\d+)"', page))
        assert linked == {f"rule-{finding.code}" for finding in drawn.findings}
        assert linked <= set(re.findall(r'id="(rule-BEV\d+)"', page))
        assert rule_page("BEV203").parts["How to fix"][0].split("`")[0][:30] in page


def test_the_contents_name_the_sections_that_are_there(drawn):
    for report in (drawn, replace(drawn, remedies=(), gpus=(), wiring=None)):
        page = inspect_page(report)
        listed = re.findall(r'href="#(\w+-title)"', page)
        assert listed == re.findall(r'<h2 id="(\w+-title)"', page)
    assert "remedies-title" not in listed


def test_a_workspace_is_named_by_what_it_serves(drawn):
    served = {"category": "workspace", "op": "forward convolution"}
    workspace = replace(drawn.peak.holders[0], **served, shape=(), dtype="uint8")
    page = inspect_page(replace(drawn, peak=replace(drawn.peak, holders=(workspace,))))
    section = page.partition('id="peak-title"')[2].partition("</section>")[0]
    assert "<code>forward convolution</code>" in section
    assert "uint8" not in section


@pytest.mark.parametrize("most", [0.7, 1, 3.2, 9.9, 116, 227, 1000])
def test_ticks_are_round_and_few(most):
    ticks = ticks_up_to(most)
    assert 3 <= len(ticks) <= 11
    assert ticks[0] == 0
    assert ticks[-1] <= most
