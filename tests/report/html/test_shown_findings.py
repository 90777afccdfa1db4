import re
from dataclasses import replace

from bevdiag.prediction.result import ConfigReport
from bevdiag.report.html.report_pages import compare_page, config_page, inspect_page
from bevdiag.rules.finding import Severity
from bevdiag.rules.pages import rule_page


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
