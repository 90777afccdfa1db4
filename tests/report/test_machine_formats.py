"""JUnit, workflow commands and Markdown of the same checks; the files of all formats."""

import unicodedata
from xml.etree import ElementTree as ET

import pytest

from bevdiag.cli.formats import MACHINE_FORMATS, renderer
from bevdiag.prediction.checked import Check
from bevdiag.prediction.result import ConfigReport
from bevdiag.report.github import MOST_OF_A_KIND, github
from bevdiag.report.junit import junit
from bevdiag.report.markdown import MOST_CHARACTERS, escaped, markdown
from bevdiag.rules.finding import Finding, Severity


@pytest.mark.parametrize(
    ("render", "name"),
    [
        (junit, "checks.junit.xml"),
        (github, "checks.github.txt"),
        (markdown, "checks.md"),
    ],
)
def test_golden(checks, golden, render, name):
    golden(name, render(checks))


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


@pytest.mark.parametrize("output_format", MACHINE_FORMATS)
def test_no_format_passes_on_what_a_terminal_would_obey(checks, hostile, output_format):
    text = renderer(output_format)((*checks, *hostile))
    assert {char for char in text if unicodedata.category(char) == "Cc"} <= {"\n"}
    assert not {"\u202e", "\u2066", "\ufeff"} & set(text)
    assert text.endswith("\n")
