"""`bevdiag compare` as JSON, schema ``bevdiag.compare/1``.

Conventions are those of ``bevdiag.inspect/2``; the first variant is the base line.
"""

from dataclasses import asdict

from bevdiag.prediction.variants import CompareReport
from bevdiag.report.canonical_json import dumps
from bevdiag.report.inspect_json import finding_document, verdict_document

SCHEMA = "bevdiag.compare/1"


def compare_json(report: CompareReport) -> str:
    """The report as one JSON object and a newline."""
    return dumps(
        {
            "schema": SCHEMA,
            "config": report.config,
            "target": asdict(report.target),
            "scene": asdict(report.scene),
            "variants": [
                asdict(variant) | {"verdict": verdict_document(variant.verdict)}
                for variant in report.variants
            ],
            "assumptions": [asdict(item) for item in report.assumptions],
            "exit_code": int(report.exit_code),
            "findings": [finding_document(finding) for finding in report.findings],
        }
    )
