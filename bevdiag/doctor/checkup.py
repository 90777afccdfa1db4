"""What `bevdiag doctor` found out, ready for any renderer."""

from dataclasses import dataclass

from bevdiag.environment.environment import Environment
from bevdiag.errors import ExitCode
from bevdiag.rules.finding import Confidence, Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """One environment and its findings.

    Attributes:
        environment: what was looked at.
        findings: what is wrong with it, errors first, within a severity in the table's order.
        unknown: what could not be decided, and what would decide it.
    """

    environment: Environment
    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        certain = [f for f in self.findings if f.confidence is Confidence.CERTAIN]
        if any(finding.severity is Severity.ERROR for finding in certain):
            return ExitCode.FINDINGS
        if self.unknown or len(certain) < len(self.findings):
            return ExitCode.NO_VERDICT
        return ExitCode.FITS
