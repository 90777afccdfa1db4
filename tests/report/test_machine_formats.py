"""SARIF, JUnit, workflow commands and Markdown of the same checks."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bevdiag.diagnose.checked import Check
from bevdiag.diagnose.result import ConfigReport, Finding, Severity, Silenced, Verdict
from bevdiag.errors import ExitCode, Location
from bevdiag.report.github import MOST_OF_A_KIND, github
from bevdiag.report.junit import junit
from bevdiag.report.markdown import MOST_CHARACTERS, escaped, markdown
from bevdiag.report.sarif import sarif

HOSTILE = "a::error::b%0A\n\r, @user <img> |x| [l](u) \x1b[2J\u202e`c` </testsuite>"


@pytest.fixture
def checks(over):
    silenced = Silenced(over.findings[-1], "known", Location(Path("configs/a.yaml"), 3, 1))
    fits = replace(over, config="configs/fits.yaml", verdict=Verdict.FITS, oom=None, findings=())
    return (
        Check(config=over.config, report=replace(over, silenced=(silenced,))),
        Check(config="configs/fits.yaml", report=fits),
        Check(config="configs/depends.yaml", report=replace(fits, verdict=Verdict.DEPENDS)),
        Check(
            config="configs/broken.yaml",
            report=ConfigReport(config="configs/broken.yaml", findings=over.findings[:1]),
        ),
        Check(
            config="configs/absent.yaml",
            failure="configs/absent.yaml: no such file",
            failure_code=ExitCode.USAGE,
        ),
    )


@pytest.fixture
def hostile(over):
    finding = Finding(code="BEV004", severity=Severity.ERROR, message=HOSTILE, module=HOSTILE)
    return (Check(config=HOSTILE, report=ConfigReport(config=HOSTILE, findings=(finding,))),)


@pytest.mark.parametrize(
    ("render", "name"),
    [
        (sarif, "checks.sarif"),
        (junit, "checks.junit.xml"),
        (github, "checks.github.txt"),
        (markdown, "checks.md"),
    ],
)
def test_golden(checks, golden, render, name):
    golden(name, render(checks))


def test_sarif_keeps_a_fingerprint_when_lines_move(checks):
    def fingerprints(some):
        run = json.loads(sarif(some))["runs"][0]
        return [result["partialFingerprints"]["bevdiag/v1"] for result in run["results"]]

    first = checks[0]
    moved = tuple(
        replace(item, location=None if item.location is None else replace(item.location, line=999))
        for item in first.report.findings
    )
    later = replace(first, report=replace(first.report, findings=moved))
    assert fingerprints([first]) == fingerprints([later])
    assert len(set(fingerprints([first]))) > 1


def test_sarif_names_every_rule_and_points_into_its_table(checks):
    run = json.loads(sarif(checks))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert run["invocations"][0]["executionSuccessful"] is False
    suppressed = [result for result in run["results"] if "suppressions" in result]
    assert [item["suppressions"][0]["justification"] for item in suppressed] == ["known"]


def test_sarif_names_files_as_uris(hostile):
    text = sarif(hostile)
    uri = json.loads(text)["runs"][0]["results"][0]["locations"][0]["physicalLocation"][
        "artifactLocation"
    ]["uri"]
    assert " " not in uri
    assert "\\u001b" not in text


def test_junit_counts_add_up(checks):
    root = ET.fromstring(junit(checks))
    suites = root.findall("testsuite")
    assert len(suites) == len(checks)
    for key, tag in (("failures", "failure"), ("errors", "error")):
        assert int(root.attrib[key]) == len(root.findall(f".//{tag}"))
    assert int(root.attrib["tests"]) == len(root.findall(".//testcase"))
    budgets = {
        suite.attrib["name"]: [child.tag for child in suite.find("testcase")] for suite in suites
    }
    assert budgets["configs/fits.yaml"] == ["system-out"]
    assert budgets["configs/depends.yaml"] == ["error"]
    assert budgets["configs/broken.yaml"] == ["failure"]
    assert budgets["configs/absent.yaml"] == ["failure"]


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


def test_junit_holds_no_foreign_markup(hostile):
    root = ET.fromstring(junit(hostile))
    assert len(root.findall("testsuite")) == 1


def test_markdown_shows_text_as_text(hostile):
    text = markdown(hostile)
    assert "<img>" not in text
    assert "@user" not in text
    row = next(line for line in text.splitlines() if "FAIL" in line)
    assert row.replace("\\|", "").count("|") == 7
    assert escaped("a_b*c") == "a\\_b\\*c"


def test_markdown_stays_within_a_comment(over):
    checks = [Check(config=f"configs/{n}.yaml", report=over) for n in range(400)]
    text = markdown(checks)
    assert len(text) <= MOST_CHARACTERS
    assert "are left out" in text
