from xml.etree import ElementTree as ET

from bevdiag.report.junit import junit


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


def test_junit_holds_no_foreign_markup(hostile):
    root = ET.fromstring(junit(hostile))
    assert len(root.findall("testsuite")) == 1
