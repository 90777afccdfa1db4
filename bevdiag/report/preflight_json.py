"""`bevdiag preflight` as JSON, schema ``bevdiag.preflight/2``.

Every check holds the whole report of its config, as `bevdiag inspect` would write it, or why there
is none.
"""

from collections.abc import Sequence
from typing import Any

from bevdiag.prediction.checked import Check, worst
from bevdiag.prediction.result import Prediction
from bevdiag.report.canonical_json import dumps
from bevdiag.report.config_json import config_document
from bevdiag.report.inspect_json import finding_document, inspect_document, verdict_document

SCHEMA = "bevdiag.preflight/2"


def preflight_json(checks: Sequence[Check]) -> str:
    """The checks as one JSON object and a newline, in the order in which configs were given."""
    return dumps(
        {
            "schema": SCHEMA,
            "exit_code": int(worst(check.exit_code for check in checks)),
            "checks": [_check(check) for check in checks],
        }
    )


def _check(check: Check) -> dict[str, Any]:
    return {
        "config": check.config,
        "exit_code": int(check.exit_code),
        "verdict": None if check.verdict is None else verdict_document(check.verdict),
        "budget": check.budget,
        "failure": check.failure,
        "growth": [finding_document(growth) for growth in check.growth],
        "notes": list(check.notes),
        "report": _report(check),
    }


def _report(check: Check) -> dict[str, Any] | None:
    if check.report is None:
        return None
    if isinstance(check.report, Prediction):
        return inspect_document(check.report)
    return config_document(check.report)
