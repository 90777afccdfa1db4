"""What an inspection found, ready for any renderer: plain frozen values, bytes as ints."""

from dataclasses import dataclass, field
from enum import Enum

from bevdiag.diagnose.joints import WiringReport
from bevdiag.diagnose.memory_use import (
    Layer,
    Measurement,
    OutOfMemory,
    Peak,
    PhasePeak,
    TensorLife,
    TimelinePoint,
)
from bevdiag.diagnose.snapshot import Snapshot
from bevdiag.errors import ExitCode, Location


class Verdict(str, Enum):
    """Whether the step fits the budget; `fits` is said of the upper end only."""

    FITS = "fits"
    OVER = "over"
    DEPENDS = "depends"
    UNKNOWN = "unknown"
    NO_BUDGET = "no budget"


class Severity(str, Enum):
    """How much a finding matters; an error alone makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Confidence(str, Enum):
    """How sure a finding is: certain follows by arithmetic, likely is a rule of thumb."""

    CERTAIN = "certain"
    LIKELY = "likely"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The GPU and library versions that the numbers are for.

    `capacity_bytes` is what the allocator may reserve, None without --gpu or --budget. `profile`
    says which device profile the numbers stand on, None where rules alone tell.
    """

    gpu: str | None
    capacity_bytes: int | None
    torch: str
    cudnn: str
    compute_capability: str
    profile: str | None = None
    cudnn_benchmark: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The input the step was run on. `source` is e.g. "synthetic sonar, seed 0" or file names."""

    source: str
    batch_size: int
    num_points: int
    num_voxels: int
    grid_size: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A count that depends on values: never one number; `used` stands behind the headline."""

    site: str
    low: int
    expected: int
    high: int
    used: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong or worth knowing. `detail` lines teach; `message` is one sentence.

    `command` is what to type to mend it, empty where there is no one command.
    """

    code: str
    severity: Severity
    message: str
    confidence: Confidence = Confidence.CERTAIN
    detail: tuple[str, ...] = ()
    key: str = ""
    location: Location | None = None
    module: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Silenced:
    """A finding that a comment in the config silences: where the comment stands, and its reason."""

    finding: Finding
    reason: str
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One change (or a combination), applied to the config and traced again.

    `error` says why it could not be traced; the figures are then None. `flops` are those of one
    step, forward and backward.
    """

    id: str
    title: str
    changes: tuple[str, ...]
    loses: str
    verdict: Verdict
    peak_allocated_bytes: int | None
    high_bytes: int | None
    reserved_bytes: int | None
    params: int | None
    bev_channels: int | None
    flops: int | None = None
    combined: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFit:
    """The same step on one GPU of the catalogue. `needed_bytes` is the upper end of reserved."""

    gpu: str
    capacity_bytes: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectReport:
    """Everything `bevdiag inspect` knows, in the order in which it is told.

    `remedies_for` is what the remedies' verdicts are about: the target, or a common GPU where the
    target has no capacity. `lives` are the blocks of the timeline, `snapshot` is the allocator's
    history, where they were asked for.
    """

    config: str
    model: str
    target: Target
    device: str
    autocast: str
    optimizer: str
    scene: Scene
    params_total: int
    params_by_module: dict[str, int]
    params_without_grad: int
    bev_channels: int | None
    peak: Peak
    first_step_peak_bytes: int
    phases: tuple[PhasePeak, ...]
    timeline: tuple[TimelinePoint, ...]
    layers: tuple[Layer, ...]
    assumptions: tuple[Assumption, ...]
    verdict: Verdict
    oom: OutOfMemory | None
    gpus: tuple[GpuFit, ...]
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]
    silenced: tuple[Silenced, ...] = ()
    remedies_for: Target | None = None
    wiring: WiringReport | None = None
    unmodelled: tuple[str, ...] = ()
    flops: int | None = None
    measurement: Measurement | None = None
    lives: tuple[TensorLife, ...] = ()
    snapshot: Snapshot | None = None

    @property
    def exit_code(self) -> ExitCode:
        if any(f.severity is Severity.ERROR for f in self.findings) or self.verdict is Verdict.OVER:
            return ExitCode.FINDINGS
        if self.verdict in (Verdict.UNKNOWN, Verdict.DEPENDS):
            return ExitCode.NO_VERDICT
        return ExitCode.FITS


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """What is known of a config of which nothing was traced: no step survives its faults.

    `refusal` is what a repository's own code ended with, where it was run. `is_untried` tells that
    no step was asked for, so that it is the findings alone which say whether there are faults.
    """

    config: str
    findings: tuple[Finding, ...]
    silenced: tuple[Silenced, ...] = ()
    refusal: str = ""
    is_untried: bool = False

    @property
    def exit_code(self) -> ExitCode:
        if self.is_untried and not any(f.severity is Severity.ERROR for f in self.findings):
            return ExitCode.FITS
        return ExitCode.FINDINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """What the user asked for, as the command line understood it. None means "the config's own".

    `profile` is the file of a device profile or "none" for rules alone; without it the shipped one
    is used, where there is one.
    `point_columns` and `point_dtype` say how .bin files are read; `in_file_order` keeps points
    in their order where the config shuffles them, as a measured row of these files did.
    `device` is "auto", "meta" or "cuda". `pins` maps a site to its count. `source` is the folder
    of a repository whose own code builds the model, `data_root` the one that the config's data
    paths start from. `timeout_seconds` is how long a child process may say nothing. `lives` asks
    for every block of the step, which a timeline is drawn from, `snapshot` for the allocator's
    history of the whole run.
    """

    device: str = "auto"
    points: tuple[str, ...] = ()
    point_columns: int | None = None
    point_dtype: str | None = None
    in_file_order: bool = False
    batch_size: int | None = None
    autocast: str | None = None
    optimizer: str | None = None
    gpu: str | None = None
    budget_bytes: int | None = None
    torch: str | None = None
    cudnn: str | None = None
    profile: str | None = None
    cudnn_benchmark: bool = False
    compression: str | None = None
    overrides: tuple[str, ...] = ()
    pins: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    remedies: bool = True
    source: str | None = None
    data_root: str | None = None
    timeout_seconds: float | None = None
    lives: bool = False
    snapshot: bool = False
