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
from bevdiag.report.locations import shown_location
from bevdiag.report.printable import printable
from bevdiag.report.text.headline import verdict_sentence
from bevdiag.rules.finding import Finding, Severity


def junit(checks: Sequence[Check]) -> str:
    """Write the checks as one XML document and a newline."""
    root = ET.Element("testsuites", name="bevdiag")
    suites = [_suite(check) for check in checks]
    root.extend(suites)
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.attrib[key]) for suite in suites)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _suite(check: Check) -> ET.Element:
    untried = isinstance(check.report, ConfigReport) and check.report.is_untried
    cases = [] if untried else [_verdict(check)]
    cases += [_finding(check.config, finding) for finding in check.findings]
    suite = ET.Element(
        "testsuite",
        name=printable(check.config),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
    )
    suite.extend(cases)
    return suite


def _verdict(check: Check) -> ET.Element:
    case = ET.Element("testcase", classname=printable(check.config), name="budget")
    if check.failure:
        kind = "error" if check.exit_code is ExitCode.NO_VERDICT else "failure"
        ET.SubElement(case, kind, message=printable(check.failure))
        return case
    if not isinstance(check.report, Prediction):
        message = "no training step survives the errors of this config"
        ET.SubElement(case, "failure", message=message)
        return case
    sentence = printable(verdict_sentence(check.report))
    if check.report.verdict is Verdict.OVER:
        oom = check.report.oom
        ET.SubElement(case, "failure", message=sentence).text = (
            printable(oom.message) if oom else None
        )
    elif check.report.verdict in (Verdict.DEPENDS, Verdict.UNKNOWN):
        ET.SubElement(case, "error", message=sentence)
    else:
        ET.SubElement(case, "system-out").text = sentence
    return case


def _finding(config: str, finding: Finding) -> ET.Element:
    case = ET.Element("testcase", classname=printable(config), name=printable(finding.code))
    if finding.location is not None:
        place = shown_location(finding.location)
        case.set("file", printable(place.file.as_posix()))
        case.set("line", str(place.line))
    text = "\n".join(printable(line) for line in (finding.message, *finding.detail))
    if finding.severity is Severity.ERROR:
        ET.SubElement(case, "failure", message=printable(finding.message)).text = text
    else:
        ET.SubElement(case, "system-out").text = f"{finding.severity.value}: {text}"
    return case
