"""Checks as SARIF 2.1.0, the format of code scanning.

A result's fingerprint is made of the rule, the config and the blamed key, not of the line: it
stays the same when lines are added above. What is silenced is a suppressed result with its
reason; a config that could not be checked is a notification of the run. What GitHub demands beyond
the schema is kept too: a full description and a line everywhere, and no more results than it takes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bevdiag import __version__
from bevdiag.errors import ExitCode, Location
from bevdiag.prediction.checked import Check
from bevdiag.report.as_json import dumps
from bevdiag.report.printable import printable, printable_lines
from bevdiag.report.rule_pages import rule_markdown
from bevdiag.rules.codes import CODES, Code
from bevdiag.rules.finding import Confidence, Finding, Severity
from bevdiag.rules.pages import rule_page

SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"
MOST_RESULTS = 25_000
"""GitHub refuses a log with more; the worst stay."""

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_PROBLEM_SEVERITIES = {"error": "error", "warning": "warning", "note": "recommendation"}
_RULES = tuple(CODES)


def sarif(checks: Sequence[Check]) -> str:
    """Write the checks as one SARIF log and a newline."""
    results = [
        _result(check.config, finding)
        for check in checks
        for finding in (*check.findings, *check.silenced)
    ]
    failed = [check for check in checks if check.failure]
    notes = [_notification(check) for check in failed]
    if len(results) > MOST_RESULTS:
        order = tuple(_LEVELS.values())
        results.sort(key=lambda result: order.index(result["level"]))
        text = f"{len(results) - MOST_RESULTS} more results are left out"
        notes.append({"level": "warning", "message": {"text": text}})
    rules = [_rule(row) for row in CODES.values()]
    run = {
        "tool": {
            "driver": {"name": "bevdiag", "semanticVersion": __version__, "rules": rules},
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {"executionSuccessful": not failed, "toolExecutionNotifications": notes},
        ],
        "results": results[:MOST_RESULTS],
    }
    return dumps({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]})


def _rule(row: Code) -> dict[str, Any]:
    page = rule_page(row.code)
    level = _LEVELS[row.severity]
    return {
        "id": row.code,
        "name": "".join(part.capitalize() for part in row.name.split("-")),
        "shortDescription": {"text": page.summary},
        "fullDescription": {"text": "\n\n".join(page.parts["What it means"])},
        "help": {
            "text": "\n\n".join(text for part in page.parts.values() for text in part),
            "markdown": rule_markdown(page),
        },
        "defaultConfiguration": {"level": level},
        "properties": {
            "precision": "very-high" if row.confidence is Confidence.CERTAIN else "medium",
            "problem.severity": _PROBLEM_SEVERITIES[level],
        },
    }


def _result(config: str, finding: Finding) -> dict[str, Any]:
    text = "\n".join((finding.message, *finding.detail))
    # What stands nowhere in particular is shown at the head of the config.
    location = _physical(finding.location or Location(Path(config), 1, 1))
    if finding.module:
        name = printable(finding.module)
        location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "module"}]
    result = {
        "ruleId": finding.code,
        "ruleIndex": _RULES.index(finding.code),
        "level": _LEVELS[finding.severity],
        "message": {"text": printable_lines(text)},
        "locations": [location],
        "partialFingerprints": {"bevdiag/v1": _fingerprint(config, finding)},
    }
    if silenced := finding.silenced:
        suppression = {
            "kind": "external" if silenced.location.file.suffix == ".toml" else "inSource",
            "justification": printable(silenced.reason),
            "location": _physical(silenced.location),
        }
        result["suppressions"] = [suppression]
    return result


def _physical(location: Location) -> dict[str, Any]:
    shown = location.shown()
    place = {
        "artifactLocation": {"uri": _uri(shown.file)},
        "region": {"startLine": shown.line, "startColumn": shown.column},
    }
    return {"physicalLocation": place}


def _uri(path: Path) -> str:
    """Write a path as a URI reference: relative from the working directory if it lies below."""
    shown = Location(path, 1, 1).shown().file
    return shown.as_uri() if shown.is_absolute() else quote(shown.as_posix())


def _fingerprint(config: str, finding: Finding) -> str:
    blamed = "\0".join((finding.code, _uri(Path(config)), finding.key or finding.module))
    return hashlib.sha256(blamed.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _notification(check: Check) -> dict[str, Any]:
    level = "error" if check.failure_code is ExitCode.USAGE else "warning"
    return {
        "level": level,
        "message": {"text": printable_lines(check.failure)},
        "locations": [_physical(Location(Path(check.config), 1, 1))],
    }
