"""`bevdiag inspect` as JSON, schema ``bevdiag.inspect/2``.

Sizes are bytes and end in ``_bytes``. ``verdict`` is fits, over, depends or unknown, and null where
neither a GPU nor a budget was named. The same input gives the same bytes: no times, no order that
depends on chance. Keys may be added within a schema version, never taken away or given a new
meaning.
"""

from dataclasses import asdict
from typing import Any

from bevdiag.errors import Location
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.memory_use import Measurement, PhasePeak, TimelinePoint
from bevdiag.prediction.plan import Plan, Recommendation, recommended
from bevdiag.prediction.result import Prediction
from bevdiag.report.canonical_json import dumps
from bevdiag.report.places import shown_location
from bevdiag.report.timeline import phase_stretches, reduce_stretch
from bevdiag.rules.finding import Finding, Silenced

SCHEMA = "bevdiag.inspect/2"
TIMELINE_POINTS = 256
"""About the length of the timeline, each point the highest of its stretch of the step."""


def inspect_json(report: Prediction) -> str:
    """The report as one JSON object and a newline."""
    return dumps(inspect_document(report))


def inspect_document(report: Prediction) -> dict[str, Any]:
    """The report as plain lists and dicts."""
    return {
        "schema": SCHEMA,
        "config": report.config,
        "model": report.model,
        "target": asdict(report.target),
        "device": report.device,
        "autocast": report.autocast,
        "optimizer": report.optimizer,
        "scene": None if report.scene is None else asdict(report.scene),
        "params": {
            "total": report.params_total,
            "modules": report.params_by_module,
            "without_grad": report.params_without_grad,
        },
        "bev_channels": report.bev_channels,
        "peak": asdict(report.peak),
        "first_step": {"peak_allocated_bytes": report.first_step_peak_bytes},
        "phases": phases_document(report.phases),
        "timeline": _timeline(report.timeline),
        "layers": [asdict(layer) for layer in report.layers],
        "wiring": None if report.wiring is None else asdict(report.wiring),
        "assumptions": [asdict(item) for item in report.assumptions],
        "verdict": verdict_document(report.verdict),
        "exit_code": int(report.exit_code),
        "oom": asdict(report.oom) if report.oom is not None else None,
        "gpus": [asdict(gpu) | {"verdict": verdict_document(gpu.verdict)} for gpu in report.gpus],
        "findings": [finding_document(finding) for finding in report.findings],
        "silenced": [silenced_document(silenced) for silenced in report.silenced],
        "remedies": [plan_document(plan) for plan in report.remedies],
        "recommended": recommendation_document(recommended(report.recommended)),
        "unmodelled": list(report.unmodelled),
        "measurement": _measurement(report.measurement),
    }


def verdict_document(verdict: Verdict) -> str | None:
    """The verdict's word; None where there was no budget to judge by."""
    return None if verdict is Verdict.NO_BUDGET else verdict.value


def finding_document(finding: Finding) -> dict[str, Any]:
    """A finding; its location is {"file", "line", "column"} or None."""
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "message": finding.message,
        "location": None if finding.location is None else _place(finding.location),
        "key": finding.key,
        "module": finding.module,
        "detail": list(finding.detail),
        **({"command": finding.command} if finding.command else {}),
        **({"offered_edits": dict(finding.edits)} if finding.edits else {}),
    }


def silenced_document(silenced: Silenced) -> dict[str, Any]:
    """A silenced finding, with the comment's reason and place."""
    comment = {"reason": silenced.reason, "location": _place(silenced.location)}
    return finding_document(silenced.finding) | {"silenced": comment}


def _place(location: Location) -> dict[str, Any]:
    place = shown_location(location)
    return {"file": place.file.as_posix(), "line": place.line, "column": place.column}


def phases_document(phases: tuple[PhasePeak, ...]) -> dict[str, Any]:
    """Figures by the phase's name."""
    return {
        item.phase: {
            "peak_allocated_bytes": item.peak_allocated_bytes,
            "allocated_after_bytes": item.allocated_after_bytes,
        }
        for item in phases
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan; ``prices`` rank what its changes take from the detector, the dearest first."""
    return {
        "id": plan.id,
        **asdict(plan),
        "prices": plan.prices,
        "verdict": verdict_document(plan.verdict),
    }


def recommendation_document(found: Recommendation | None) -> dict[str, Any] | None:
    """The ids and the edits of the recommended plan, the same in every command's document."""
    return None if found is None else asdict(found)


def _timeline(points: tuple[TimelinePoint, ...]) -> list[dict[str, Any]]:
    reduced: list[TimelinePoint] = []
    for _, group in phase_stretches(points):
        share = -(-TIMELINE_POINTS * len(group) // len(points))
        reduced += reduce_stretch(group, min(len(group), share))
    return [asdict(point) for point in reduced]


def _measurement(measurement: Measurement | None) -> dict[str, Any] | None:
    if measurement is None:
        return None
    return asdict(measurement) | {"phases": phases_document(measurement.phases)}
