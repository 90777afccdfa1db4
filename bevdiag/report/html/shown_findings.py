"""Findings as the templates show them."""

from collections.abc import Iterable
from typing import Any

from bevdiag.errors import Location
from bevdiag.memory.verdict import Verdict
from bevdiag.report.locations import shown_location
from bevdiag.rules.codes import CODES
from bevdiag.rules.finding import Finding, Severity, worst_first
from bevdiag.rules.pages import RulePage, rule_page

SEVERITY_KINDS = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.INFO: "muted"}
VERDICT_KINDS = {
    Verdict.FITS: "good",
    Verdict.OVER: "bad",
    Verdict.DEPENDS: "warn",
    Verdict.UNKNOWN: "warn",
    Verdict.NO_BUDGET: "muted",
}
"""The style sheet's class for each."""


def shown_findings(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Each with its class and where it points, the worst first."""
    return [
        {
            "code": finding.code,
            "severity": finding.severity.value,
            "kind": SEVERITY_KINDS[finding.severity],
            "message": finding.message,
            "detail": finding.detail,
            "command": finding.command,
            "where": _where(finding),
        }
        for finding in worst_first(findings)
    ]


def shown_rules(findings: Iterable[Finding], silenced: Iterable[Finding]) -> list[RulePage]:
    """Return the pages of the rules that speak, by their codes: the page needs no network."""
    codes = {finding.code for finding in (*findings, *silenced)}
    return [rule_page(code) for code in sorted(codes & CODES.keys())]


def shown_silenced(silenced: Iterable[Finding]) -> list[dict[str, str]]:
    """Each with its reason and where the comment stands that silences it."""
    return [
        {
            "code": finding.code,
            "message": finding.message,
            "reason": finding.silenced.reason,
            "where": _place(finding.silenced.location),
        }
        for finding in silenced
        if finding.silenced is not None
    ]


def _where(finding: Finding) -> str:
    place = _place(finding.location) if finding.location is not None else finding.module
    return " ".join(part for part in (place, finding.key) if part)


def _place(location: Location) -> str:
    place = shown_location(location)
    return f"{place.file}:{place.line}:{place.column}"
