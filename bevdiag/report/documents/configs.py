"""The documents of several configs: `bevdiag preflight`, `check` and `compare`."""

from dataclasses import dataclass
from typing import Literal

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Assumption, Scene, Target
from bevdiag.prediction.variants import Variant
from bevdiag.report.documents.inspect import FindingsDocument, InspectDocument
from bevdiag.rules.finding import Finding


@dataclass(frozen=True, kw_only=True)
class CheckDocument:
    """One config's outcome: its report, or why there is none."""

    config: str
    exit_code: ExitCode
    verdict: Verdict
    budget: str
    failure: str
    growth: tuple[Finding, ...]
    notes: tuple[str, ...]
    report: InspectDocument | FindingsDocument | None


@dataclass(frozen=True, kw_only=True)
class PreflightDocument:
    """`bevdiag preflight` and `bevdiag check`, in the order in which configs were given."""

    schema: Literal["bevdiag.preflight/2"] = "bevdiag.preflight/2"
    exit_code: ExitCode
    checks: tuple[CheckDocument, ...]


@dataclass(frozen=True, kw_only=True)
class CompareDocument:
    """`bevdiag compare`; the others are compared with the first variant."""

    schema: Literal["bevdiag.compare/1"] = "bevdiag.compare/1"
    config: str
    target: Target
    scene: Scene
    variants: tuple[Variant, ...]
    assumptions: tuple[Assumption, ...]
    exit_code: ExitCode
    findings: tuple[Finding, ...]
