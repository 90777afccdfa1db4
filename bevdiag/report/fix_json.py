"""`bevdiag fix` as JSON, schema ``bevdiag.fix/1``.

Conventions are those of ``bevdiag.inspect/2``. ``prices`` rank what a set's members take from the
detector, the dearest first: 0 nothing, 1 time, 2 precision, 3 the model, 4 its input. ``flops`` are
those of one step, per sample.
"""

from dataclasses import asdict
from typing import Any

from bevdiag.remedies.results import Advice, FixReport
from bevdiag.report.canonical_json import dumps
from bevdiag.report.inspect_json import (
    plan_document,
    recommendation_document,
    verdict_document,
)

SCHEMA = "bevdiag.fix/1"


def fix_json(report: FixReport) -> str:
    """The report as one JSON object and a newline."""
    chosen = report.chosen
    return dumps(
        {
            "schema": SCHEMA,
            "config": report.config,
            "target": asdict(report.target),
            "scene": asdict(report.scene),
            "unsafe_allowed": report.unsafe_allowed,
            "base": plan_document(report.base),
            "chosen": None if chosen is None else plan_document(chosen),
            "recommended": recommendation_document(report.recommended),
            "diff": report.diff,
            "written": report.written,
            "refusal": report.refusal,
            "frontier": [plan_document(plan) for plan in report.frontier],
            "singles": [plan_document(plan) for plan in report.singles],
            "combined": [plan_document(plan) for plan in report.combined],
            "advice": [_advice(advice) for advice in report.advice],
            "exit_code": int(report.exit_code),
        }
    )


def _advice(advice: Advice) -> dict[str, Any]:
    verdict = advice.verdict
    return asdict(advice) | {"verdict": None if verdict is None else verdict_document(verdict)}
