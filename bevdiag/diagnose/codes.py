"""The table of findings: a stable code, a name that says the fault, and how much it matters."""

from dataclasses import dataclass

from bevdiag.config import DetectorConfig
from bevdiag.diagnose.result import Finding, Severity


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table."""

    code: str
    name: str
    severity: Severity


_ROWS = (
    Code("BEV001", "scalar-read-as-string", Severity.WARNING),
    Code("BEV002", "duplicate-key", Severity.WARNING),
    Code("BEV004", "unknown-key", Severity.WARNING),
    Code("BEV201", "bev-channel-mismatch", Severity.ERROR),
    Code("BEV203", "height-flatten-blowup", Severity.ERROR),
    Code("BEV301", "over-budget", Severity.ERROR),
    Code("BEV302", "budget-depends-on-values", Severity.WARNING),
    Code("BEV304", "peak-dominated-by-one-block", Severity.INFO),
    Code("BEV305", "padded-voxel-features", Severity.WARNING),
    Code("BEV306", "densified-volume", Severity.WARNING),
    Code("BEV307", "focal-growth", Severity.WARNING),
    Code("BEV403", "convolution-beyond-32-bit", Severity.WARNING),
    Code("BEV601", "parameters-without-gradient", Severity.WARNING),
    Code("BEV602", "parameters-not-optimized", Severity.WARNING),
    Code("BEV603", "copies-differ", Severity.WARNING),
    Code("BEV901", "scalar-guessed", Severity.WARNING),
    Code("BEV902", "repository-stood-in-for", Severity.INFO),
)

CODES = {row.code: row for row in _ROWS}


def finding(
    code: str,
    message: str,
    *,
    config: DetectorConfig | None = None,
    key: str = "",
    detail: tuple[str, ...] = (),
    module: str = "",
    severity: Severity | None = None,
) -> Finding:
    """A finding of that code; it points at where `key` stands in the config."""
    location = config.document.location(key) if config is not None and key else None
    return Finding(
        code=code,
        severity=severity or CODES[code].severity,
        message=message,
        detail=detail,
        key=key,
        location=location,
        module=module,
    )
