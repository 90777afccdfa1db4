"""`bevdiag fit` as JSON, schema ``bevdiag.fit/1``; conventions are those of ``bevdiag.inspect/2``.

``largest`` is null where not even 1 fits; from ``binds_until`` on a cap changes nothing on this
scene.
"""

from dataclasses import asdict

from bevdiag.remedies.fit_results import FitReport
from bevdiag.report.canonical_json import dumps
from bevdiag.report.inspect_json import verdict_document

SCHEMA = "bevdiag.fit/1"


def fit_json(report: FitReport) -> str:
    """The report as one JSON object and a newline."""
    return dumps(
        {
            "schema": SCHEMA,
            **asdict(report),
            "points": [
                asdict(point) | {"verdict": verdict_document(point.verdict)}
                for point in report.points
            ],
            "exit_code": int(report.exit_code),
        }
    )
