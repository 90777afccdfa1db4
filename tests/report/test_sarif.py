"""Checks as SARIF, held to the standard's own model, its schema, and what GitHub demands."""

import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import pysarif
import pytest

from bevdiag.errors import Location
from bevdiag.prediction.checked import Check
from bevdiag.prediction.result import ConfigReport
from bevdiag.report.sarif import sarif
from bevdiag.rules.codes import CODES
from bevdiag.rules.finding import Finding, Severity, Silencing

SCHEMA = "BEVDIAG_SARIF_SCHEMA"
BESIDE = Path(__file__).parents[3] / "shared" / "sarif-schema-2.1.0.json"


def lost(document, loaded, place=""):
    """What a reader made of the standard does not know, by its place."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key not in loaded:
                yield f"{place}.{key}"
            else:
                yield from lost(value, loaded[key], f"{place}.{key}")
    elif isinstance(document, list):
        assert len(document) == len(loaded)
        for value, other in zip(document, loaded, strict=True):
            yield from lost(value, other, f"{place}[]")
    elif document != loaded:
        yield place


def test_golden(checks, golden):
    """But for the rules that found nothing: docs/rules holds their pages."""
    document = json.loads(sarif(checks))
    (run,) = document["runs"]
    found = {result["ruleId"] for result in run["results"]}
    driver = run["tool"]["driver"]
    driver["rules"] = [rule for rule in driver["rules"] if rule["id"] in found]
    golden("checks.sarif", json.dumps(document, indent=1) + "\n")


def test_a_reader_of_the_standard_loses_nothing(checks):
    document = json.loads(sarif(checks))
    loaded = pysarif.save_to_dict(pysarif.load_from_dict(document))
    # A property bag holds anything; the schema's address is not part of the model.
    rule = ".runs[].tool.driver.rules[].properties"
    free = {".$schema", f"{rule}.precision", f"{rule}.problem.severity"}
    assert set(lost(document, loaded)) == free


def test_the_reader_notices_a_field_that_is_not_sarif(checks):
    document = json.loads(sarif(checks))
    document["runs"][0]["results"][0]["line"] = 3
    loaded = pysarif.save_to_dict(pysarif.load_from_dict(document))
    assert ".runs[].results[].line" in set(lost(document, loaded))


def test_holds_the_schema(checks, hostile):
    path = Path(os.environ.get(SCHEMA, BESIDE))
    if not path.is_file():
        pytest.skip(f"sarif-schema-2.1.0.json of OASIS is not at hand: name it in {SCHEMA}")
    schema = json.loads(path.read_text(encoding="utf-8"))
    for some in (checks, hostile, ()):
        jsonschema.validate(json.loads(sarif(some)), schema)


def test_github_takes_it(checks):
    run = json.loads(sarif(checks))["runs"][0]
    for rule in run["tool"]["driver"]["rules"]:
        assert 0 < len(rule["name"]) <= 255
        assert 0 < len(rule["shortDescription"]["text"]) <= 1024
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["help"]["text"]
    for result in run["results"]:
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert place["artifactLocation"]["uri"].startswith("configs/")
        assert result["message"]["text"]
        assert result["partialFingerprints"]


def test_no_more_results_than_github_takes_and_the_worst_of_them(monkeypatch):
    monkeypatch.setattr("bevdiag.report.sarif.MOST_RESULTS", 3)
    notes = (Finding(code="BEV502", severity=Severity.INFO, message="x"),) * 4
    fault = Finding(code="BEV203", severity=Severity.ERROR, message="y")
    report = ConfigReport(config="a.yaml", findings=(*notes, fault))
    run = json.loads(sarif([Check(config="a.yaml", report=report)]))["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == ["BEV203", "BEV502", "BEV502"]
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"] == "2 more results are left out"


def test_what_the_policy_silences_is_suppressed_from_outside(over):
    silenced = replace(
        over.findings[0], silenced=Silencing("agreed", Location(Path("bevdiag.toml"), 7, 1))
    )
    report = replace(over, findings=(), silenced=(silenced,))
    (result,) = json.loads(sarif([Check(config="a.yaml", report=report)]))["runs"][0]["results"]
    (suppression,) = result["suppressions"]
    assert suppression["kind"] == "external"
    assert suppression["location"]["physicalLocation"]["region"]["startLine"] == 7


def test_keeps_a_fingerprint_when_lines_move(checks):
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


def test_names_every_rule_and_points_into_its_table(checks):
    run = json.loads(sarif(checks))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CODES)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert run["invocations"][0]["executionSuccessful"] is False
    suppressed = [result for result in run["results"] if "suppressions" in result]
    assert [item["suppressions"][0]["justification"] for item in suppressed] == ["known"]


def test_names_files_as_uris(hostile):
    text = sarif(hostile)
    uri = json.loads(text)["runs"][0]["results"][0]["locations"][0]["physicalLocation"][
        "artifactLocation"
    ]["uri"]
    assert " " not in uri
    assert "\\u001b" not in text
