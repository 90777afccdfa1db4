import re
from dataclasses import replace

from bevdiag.prediction.result import ConfigReport
from bevdiag.report.html.report_pages import compare_page, config_page, inspect_page
from bevdiag.report.text.compare_report import variant_label


def test_the_verdict_stands_first(drawn):
    page = inspect_page(drawn)
    assert page.index("Does not fit A100-80GB") < page.index("Memory over the step")
    for part in ("75.10 GiB", "BEV203", "22,400", "map_to_bev", "RTX 4090"):
        assert part in page


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
