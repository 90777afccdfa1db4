"""Checks as JUnit XML, which every CI server shows: a suite a config, a case a finding's rule.

A finding of severity error fails its case, and so does a budget that is exceeded; a config without
a verdict is an error of its case, as a test is that could not be run. XML has no way to write
control characters, escaped or not, so all text is made printable.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.checked import Check
from bevdiag.prediction.result import ConfigReport, Prediction
from bevdiag.report.printable import printable
from bevdiag.report.text.headline import verdict_sentence
from bevdiag.rules.finding import Finding, Severity


def junit(checks: Sequence[Check]) -> str:
    """Write the checks as one XML document and a newline."""
    root = ET.Element("testsuites", name="bevdiag")
    for check in checks:
        suite = ET.SubElement(root, "testsuite", name=printable(check.config))
        if not (isinstance(check.report, ConfigReport) and check.report.is_untried):
            _add_verdict(suite, check)
        for finding in check.findings:
            _add_finding(suite, finding)
        _count(suite)
    _count(root)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _count(parent: ET.Element) -> None:
    """Say how many cases there are inside, failed ones and those that could not be run."""
    for key, inside in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        parent.set(key, str(sum(1 for _ in parent.iter(inside))))


def _case(suite: ET.Element, name: str, kind: str, message: str = "", text: str = "") -> ET.Element:
    """Add a case that says one thing: it failed, could not be run, or something worth knowing."""
    case = ET.SubElement(suite, "testcase", classname=suite.attrib["name"], name=printable(name))
    said = ET.SubElement(case, kind, {"message": printable(message)} if message else {})
    said.text = text or None
    return case


def _add_verdict(suite: ET.Element, check: Check) -> None:
    report = check.report
    if check.failure:
        kind = "error" if check.exit_code is ExitCode.NO_VERDICT else "failure"
        _case(suite, "budget", kind, check.failure)
    elif not isinstance(report, Prediction):
        message = "no training step survives the errors of this config"
        _case(suite, "budget", "failure", message)
    elif report.verdict is Verdict.OVER:
        assert report.oom is not None
        stop = printable(report.oom.message)
        _case(suite, "budget", "failure", verdict_sentence(report), stop)
    elif report.verdict in (Verdict.DEPENDS, Verdict.UNKNOWN):
        _case(suite, "budget", "error", verdict_sentence(report))
    else:
        _case(suite, "budget", "system-out", text=printable(verdict_sentence(report)))


def _add_finding(suite: ET.Element, finding: Finding) -> None:
    text = "\n".join(printable(line) for line in (finding.message, *finding.detail))
    if finding.severity is Severity.ERROR:
        case = _case(suite, finding.code, "failure", finding.message, text)
    else:
        case = _case(suite, finding.code, "system-out", text=f"{finding.severity.value}: {text}")
    if finding.location is not None:
        place = finding.location.shown()
        case.set("file", printable(place.file.as_posix()))
        case.set("line", str(place.line))
