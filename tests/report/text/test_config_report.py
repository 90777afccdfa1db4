"""The report of a config that was not traced."""

import json
from dataclasses import replace
from pathlib import Path

from bevdiag.errors import Location
from bevdiag.prediction.result import ConfigReport
from bevdiag.report.as_json import as_json
from bevdiag.report.printable import Layout
from bevdiag.report.text.inspect_report import write_config
from bevdiag.report.text.prose import rendered
from bevdiag.rules.codes import finding
from bevdiag.rules.finding import Silencing

PLACE = Location(Path("c.yaml"), 7, 9)
REPORT = ConfigReport(
    config="c.yaml",
    findings=(finding("BEV105", "[1, 2, 4] is no list of [dx, dy, dz]", location=PLACE),),
    silenced=(
        replace(
            finding("BEV001", "odd", location=PLACE),
            silenced=Silencing("the reader calls float()", PLACE),
        ),
    ),
    refusal="KeyError: x",
)


def test_why_nothing_was_traced_and_what_is_wrong() -> None:
    lines = rendered(Layout(), write_config, REPORT).splitlines()
    assert lines[0] == "cannot run"
    assert "so none was traced" in lines[1]
    assert lines[2] == "The repository's code ended with: KeyError: x"
    assert "  error BEV105  [1, 2, 4] is no list of [dx, dy, dz]" in lines
    assert "    c.yaml:7:9" in lines
    assert lines[-1] == "  silenced BEV001  c.yaml:7:9: the reader calls float()"


def test_the_same_as_json() -> None:
    document = json.loads(as_json(REPORT))
    assert document["schema"] == "bevdiag.findings/1"
    assert (document["verdict"], document["exit_code"]) == (None, 1)
    assert document["refusal"] == "KeyError: x"
    place = {"file": "c.yaml", "line": 7, "column": 9}
    assert document["findings"][0]["location"] == place
    assert document["silenced"][0]["silenced"] == {
        "reason": "the reader calls float()",
        "location": place,
    }
