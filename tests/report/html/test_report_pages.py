import re
from dataclasses import replace

from bevdiag.prediction.result import ConfigReport
from bevdiag.report.html.report_pages import inspect_page, page_of
from bevdiag.report.text.compare_report import variant_label
from bevdiag.rules.finding import Severity
from bevdiag.rules.pages import rule_page


def test_the_verdict_stands_first(drawn):
    page = inspect_page(drawn)
    assert page.index("Does not fit A100-80GB") < page.index("Memory over the step")
    for part in ("75.10 GiB", "BEV203", "22,400", "map_to_bev", "RTX 4090", "cuDNN 9.1.0"):
        assert part in page


def test_a_config_that_cannot_run_shows_its_findings(over):
    report = ConfigReport(config="broken.yaml", findings=over.findings)
    page = page_of(report)
    assert "Cannot run" in page
    assert over.findings[0].code in page


def test_every_variant_has_a_row(compared):
    page = page_of(compared)
    for variant in compared.variants:
        assert f"<code>{variant_label(variant, compared)}</code>" in page
    assert "could not be traced" in page


def test_the_same_report_makes_the_same_page(drawn):
    assert inspect_page(drawn) == inspect_page(drawn)


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


def test_the_worst_finding_stands_first(drawn):
    error = replace(drawn.findings[0], severity=Severity.ERROR)
    note = replace(error, code="BEV901", severity=Severity.INFO)
    page = inspect_page(replace(drawn, findings=(note, error)))
    assert page.index(f">{error.code}<") < page.index(">BEV901<")


def test_a_code_leads_to_its_rule_on_the_page(drawn, compared):
    pages = (
        inspect_page(drawn),
        page_of(replace(compared, findings=drawn.findings)),
        page_of(ConfigReport(config="broken.yaml", findings=drawn.findings)),
    )
    for page in pages:
        linked = set(re.findall(r'href="#(rule-BEV\d+)"', page))
        assert linked == {f"rule-{finding.code}" for finding in drawn.findings}
        assert linked <= set(re.findall(r'id="(rule-BEV\d+)"', page))
        assert rule_page("BEV203").parts["How to fix"][0].split("`")[0][:30] in page
