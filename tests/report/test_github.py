from bevdiag.prediction.checked import Check
from bevdiag.prediction.result import ConfigReport
from bevdiag.report.github import MOST_OF_A_KIND, github
from bevdiag.rules.finding import Finding, Severity


def test_what_github_would_drop_is_counted(over):
    finding = Finding(code="BEV004", severity=Severity.WARNING, message="x")
    report = ConfigReport(config="a", findings=(finding,) * 25)
    lines = github([Check(config="a", report=report)]).splitlines()
    assert len(lines) == MOST_OF_A_KIND + 1
    assert lines[-1] == "::notice title=bevdiag::15 more: see the log or the job summary"


def test_no_text_opens_a_workflow_command(hostile):
    for line in github(hostile).splitlines():
        properties, _, message = line[2:].partition("::")
        assert properties.startswith("error file=")
        assert "\r" not in line
        assert "%250A" in message
        assert "\x1b" not in line
    assert github(hostile).count("\n") == 1
