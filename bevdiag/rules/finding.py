"""One thing that is wrong or worth knowing, as a plain value for any renderer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from bevdiag.errors import Location


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
    no step runs with it. `offered_edits` are keys and their new values, as YAML, with which it is
    gone.
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
    offered_edits: Mapping[str, str] = field(default_factory=dict)
    silenced: Silencing | None = None
