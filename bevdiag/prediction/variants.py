"""What `bevdiag compare` knows, as plain values for any renderer."""

from dataclasses import dataclass, field

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Assumption, Scene, Target
from bevdiag.rules.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of `bevdiag compare`; one that could not be traced has no figures, but an error."""

    compression: str
    batch_size: int
    autocast: str
    bev_channels: int | None = None
    params: int | None = None
    peak_allocated_bytes: int | None = None
    high_bytes: int | None = None
    reserved_bytes: int | None = None
    largest_request_bytes: int | None = None
    largest_request_module: str = ""
    difference_bytes: int | None = None
    verdict: Verdict
    fits: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareReport:
    """What `bevdiag compare` knows."""

    config: str
    target: Target
    scene: Scene
    variants: tuple[Variant, ...]
    assumptions: tuple[Assumption, ...] = field(default=())
    findings: tuple[Finding, ...] = field(default=())

    @property
    def exit_code(self) -> ExitCode:
        verdicts = {variant.verdict for variant in self.variants}
        if Verdict.OVER in verdicts:
            return ExitCode.FINDINGS
        if verdicts & {Verdict.UNKNOWN, Verdict.DEPENDS}:
            return ExitCode.NO_VERDICT
        return ExitCode.FITS
