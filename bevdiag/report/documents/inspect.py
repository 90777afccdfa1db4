"""The documents of one config: `bevdiag inspect`, and of what was not traced."""

from dataclasses import dataclass
from typing import Literal

from bevdiag.errors import ExitCode, Location
from bevdiag.memory.verdict import GpuFit, Verdict
from bevdiag.prediction.memory_use import Layer, OutOfMemory, Peak, TimelinePoint
from bevdiag.prediction.plan import Change, Recommendation
from bevdiag.prediction.result import Assumption, Scene, Target
from bevdiag.rules.finding import Finding
from bevdiag.trace.wiring import Wiring


@dataclass(frozen=True, kw_only=True)
class SilencingDocument:
    """The comment or the policy's rule that silences a finding."""

    reason: str
    location: Location


@dataclass(frozen=True, kw_only=True)
class SilencedDocument(Finding):
    """A finding that a comment or the policy silences."""

    silenced: SilencingDocument


@dataclass(frozen=True, kw_only=True)
class ParamsDocument:
    """Counts of parameters, in all and by module."""

    total: int
    modules: dict[str, int]
    without_grad: int


@dataclass(frozen=True, kw_only=True)
class FirstStepDocument:
    """What the first step alone reaches."""

    peak_allocated_bytes: int


@dataclass(frozen=True, kw_only=True)
class PhaseDocument:
    """The peak within one phase of a step, and what stays afterwards."""

    peak_allocated_bytes: int
    allocated_after_bytes: int


@dataclass(frozen=True, kw_only=True)
class PlanDocument:
    """A set of changes, applied and traced again; `prices` rank what they take from the detector.

    `flops` are those of one step, per sample; a price is 0 for nothing, 1 time, 2 precision, 3 the
    model, 4 its input.
    """

    id: str
    changes: tuple[Change, ...]
    edits: dict[str, str]
    verdict: Verdict
    peak_allocated_bytes: int | None
    high_bytes: int | None
    reserved_bytes: int | None
    params: int | None
    flops: int | None
    bev_channels: int | None
    error: str
    prices: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MeasurementDocument:
    """What a GPU measured beside the prediction."""

    gpu: str
    torch: str
    cudnn: str
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    error_percent: float | None
    phases: dict[str, PhaseDocument]
    modules: dict[str, int]
    predicted_modules: dict[str, int]
    context_bytes: int | None
    other_processes: tuple[str, ...]
    kept_voxels: dict[str, int]
    oom_message: str | None
    failure: str | None


@dataclass(frozen=True, kw_only=True)
class InspectDocument:
    """`bevdiag inspect` of a config whose step was traced; sizes are bytes."""

    schema: Literal["bevdiag.inspect/2"] = "bevdiag.inspect/2"
    config: str
    model: str
    target: Target
    device: str
    autocast: str
    optimizer: str
    scene: Scene | None
    params: ParamsDocument
    bev_channels: int | None
    peak: Peak
    first_step: FirstStepDocument
    phases: dict[str, PhaseDocument]
    timeline: tuple[TimelinePoint, ...]
    layers: tuple[Layer, ...]
    wiring: Wiring | None
    assumptions: tuple[Assumption, ...]
    verdict: Verdict
    exit_code: ExitCode
    oom: OutOfMemory | None
    gpus: tuple[GpuFit, ...]
    findings: tuple[Finding, ...]
    silenced: tuple[SilencedDocument, ...]
    remedies: tuple[PlanDocument, ...]
    recommended: Recommendation | None
    unmodelled: tuple[str, ...]
    measurement: MeasurementDocument | None


@dataclass(frozen=True, kw_only=True)
class FindingsDocument:
    """A config of which nothing was traced."""

    schema: Literal["bevdiag.findings/1"] = "bevdiag.findings/1"
    config: str
    verdict: None = None
    exit_code: ExitCode
    refusal: str | None
    findings: tuple[Finding, ...]
    silenced: tuple[SilencedDocument, ...]
