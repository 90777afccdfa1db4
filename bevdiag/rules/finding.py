"""One thing that is wrong or worth knowing, as a plain value for any renderer."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from bevdiag.config.edits import flow
from bevdiag.errors import Location
from bevdiag.rules.fix import GRID, Fix


class Severity(str, Enum):
    """How much a finding matters; an error alone makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Confidence(str, Enum):
    """How sure a finding is: certain follows by arithmetic, likely is a rule of thumb."""

    CERTAIN = "certain"
    LIKELY = "likely"


@dataclass(frozen=True, slots=True)
class Silencing:
    """The comment or the policy's rule that silences a finding: its reason, and where it stands."""

    reason: str
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong or worth knowing. `detail` lines teach; `message` is one sentence.

    `command` is what to type to correct it, empty where there is no one command; `stops` says that
    no step runs with it. `fixes` are what its rule can write into the config against it.
    """

    code: str
    severity: Severity
    confidence: Confidence = Confidence.CERTAIN
    message: str
    location: Location | None = None
    key: str = ""
    module: str = ""
    detail: tuple[str, ...] = ()
    command: str = ""
    stops: bool = False
    fixes: tuple[Fix, ...] = ()
    silenced: Silencing | None = None

    @property
    def offered_edits(self) -> dict[str, str]:
        """Keys and their new values, as YAML, with which a fault of the grid is gone."""
        grid = next((fix for fix in self.fixes if fix.group == GRID), None)
        edits = {} if grid is None else grid.edits
        return {".".join(path): flow(value) for path, value in edits.items()}


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, warnings, then the rest; within a severity in the order of the rules."""
    order = tuple(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))
