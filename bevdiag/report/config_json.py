"""The findings of a config that was not traced as JSON, schema ``bevdiag.findings/1``."""

from typing import Any

from bevdiag.prediction.result import ConfigReport
from bevdiag.report.canonical_json import dumps
from bevdiag.report.inspect_json import finding_document, silenced_document

SCHEMA = "bevdiag.findings/1"


def config_json(report: ConfigReport) -> str:
    """The report as one JSON object and a newline."""
    return dumps(config_document(report))


def config_document(report: ConfigReport) -> dict[str, Any]:
    """The report as plain lists and dicts."""
    return {
        "schema": SCHEMA,
        "config": report.config,
        "verdict": None,
        "exit_code": int(report.exit_code),
        "refusal": report.refusal or None,
        "findings": [finding_document(finding) for finding in report.findings],
        "silenced": [silenced_document(silenced) for silenced in report.silenced],
    }
