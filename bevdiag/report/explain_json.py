"""`bevdiag explain` as JSON, schema ``bevdiag.explain/1``.

A printed size stands for a range: ``low_bytes`` to ``high_bytes`` print like it.
"""

from dataclasses import asdict
from typing import Any

from bevdiag.explain.failure import Failure
from bevdiag.explain.result import Candidate, Explanation, Suspicion
from bevdiag.report.canonical_json import dumps
from bevdiag.report.inspect_json import finding_document

SCHEMA = "bevdiag.explain/1"


def explain_json(explanation: Explanation) -> str:
    """The message taken apart, and the allocations it may be about, the likeliest first."""
    return dumps(
        {
            "schema": SCHEMA,
            "failure": _failure(explanation.failure),
            "other_processes": [_failure(failure) for failure in explanation.others],
            "decoded": list(explanation.decoded),
            "config": explanation.config or None,
            "target": None if explanation.target is None else asdict(explanation.target),
            "candidates": [_candidate(candidate) for candidate in explanation.candidates],
            "cause": explanation.cause,
            "suspicions": [_suspicion(suspicion) for suspicion in explanation.suspicions],
            "notes": list(explanation.notes),
            "exit_code": int(explanation.exit_code),
        }
    )


def _failure(failure: Failure) -> dict[str, Any]:
    others = [{"pid": pid, "held": asdict(held)} for pid, held in failure.others]
    return asdict(failure) | {"kind": failure.kind.name.lower(), "others": others}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return asdict(candidate) | {"certainty": candidate.certainty.value}


def _suspicion(suspicion: Suspicion) -> dict[str, Any]:
    findings = [finding_document(finding) for finding in suspicion.findings]
    return {
        "code": suspicion.code,
        "name": suspicion.name,
        "summary": suspicion.summary,
        "fix": list(suspicion.fix),
        "looked_at": suspicion.looked_at,
        "findings": findings,
    }
