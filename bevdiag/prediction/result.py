"""What an inspection found, ready for any renderer: plain frozen values, bytes as ints."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from bevdiag.errors import ExitCode
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.history import BlockLife, History
from bevdiag.memory.profile import PhaseUse
from bevdiag.memory.verdict import GpuFit, Verdict
from bevdiag.rules.finding import Finding, Fix, Severity
from bevdiag.trace.pins import Assumption as Assumption
from bevdiag.trace.wiring import LayerRecord, Wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The plan that is recommended: the ids of its changes, and every edit of the config."""

    ids: tuple[str, ...]
    edits: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a step comes to; one that could not be traced has no figures, but an error.

    `high_bytes` is the upper end of the peak, which is what must fit.
    """

    verdict: Verdict
    peak_allocated_bytes: int | None = None
    high_bytes: int | None = None
    reserved_bytes: int | None = None
    params: int | None = None
    bev_channels: int | None = None
    error: str = ""

    @property
    def fits(self) -> bool:
        return self.verdict is Verdict.FITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Figures):
    """A set of changes, applied to the config and traced again.

    Attributes:
        changes: its members; none for the config as it is.
        edits: dotted key and new value as YAML, in the order of writing.
        flops: of one step, per sample.
    """

    changes: tuple[Fix, ...] = ()
    edits: Mapping[str, str] = field(default_factory=dict)
    flops: int | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(change.id for change in self.changes)

    @property
    def id(self) -> str:
        return "+".join(self.ids)

    @property
    def title(self) -> str:
        return ", ".join(change.title for change in self.changes)

    @property
    def loses(self) -> str:
        return "; ".join(change.loses for change in self.changes)

    @property
    def combined(self) -> bool:
        return len(self.changes) > 1

    @property
    def prices(self) -> tuple[int, ...]:
        """Of its members, the dearest first: sets are compared by these, then by their compute."""
        return tuple(sorted((change.price for change in self.changes), reverse=True))

    @property
    def unsafe(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.unsafe for c in self.changes if c.unsafe))

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.needs for c in self.changes if c.needs))

    @property
    def recommendation(self) -> Recommendation:
        """What a document says of the plan that is recommended."""
        return Recommendation(ids=self.ids, edits=self.edits)

    @property
    def cost(self) -> tuple[tuple[int, ...], int]:
        """Order of cost."""
        return self.prices, self.flops or 0

    @property
    def preference(self) -> tuple[bool, tuple[tuple[int, ...], int]]:
        """Order of recommendation: what the user's code may lack comes behind what it has."""
        return bool(self.needs), self.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """What a search for plans came to.

    Attributes:
        singles: every change alone; `combined` every set of several that was traced.
        frontier: of all that may be written, what nothing else beats in both cost and memory,
            the cheapest first.
        chosen: the plan to take, None where none fits or none is needed.
    """

    singles: tuple[Plan, ...] = ()
    combined: tuple[Plan, ...] = ()
    frontier: tuple[Plan, ...] = ()
    chosen: Plan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One block (or several alike, `count`) alive at the peak."""

    nbytes: int
    category: str
    module: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The highest moment of the steps after the first, as torch.cuda.max_memory_allocated counts.

    `low_bytes` and `high_bytes` bound `allocated_bytes`; `reserved_bytes` is what the allocator
    holds from CUDA at most.
    """

    allocated_bytes: int
    low_bytes: int
    high_bytes: int
    reserved_bytes: int
    high_reserved_bytes: int
    phase: str
    module: str
    op: str
    holders: tuple[Holder, ...]
    by_category: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(LayerRecord):
    """One module of the layer tree with its memory.

    `saved_bytes` is what its forward pass leaves for the backward pass, children included;
    `peak_bytes` the allocated total at the highest moment inside it, forward or backward;
    `workspace_bytes` the largest workspace it asks for.
    """

    saved_bytes: int
    peak_bytes: int
    workspace_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory:
    """Where the step stops within the budget, and the message PyTorch would print."""

    requested_bytes: int
    module: str
    phase: str
    step: int
    what: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePoint:
    """Allocated and reserved bytes after some event of the steady step, for the chart."""

    phase: str
    module: str
    allocated_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a GPU measured beside the prediction (device cuda only)."""

    gpu: str
    torch: str
    cudnn: str
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    error_percent: float | None
    phases: Mapping[str, PhaseUse]
    modules: dict[str, int]
    predicted_modules: dict[str, int]
    context_bytes: int | None
    other_processes: tuple[str, ...]
    kept_voxels: dict[str, int]
    oom_message: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The input the step was run on. `source` is e.g. "synthetic sonar, seed 0" or file names.

    `num_voxels` counts those that a model's own voxelizer makes too, 0 where there are none;
    `grid_size` is None where the model takes points alone.
    """

    source: str
    batch_size: int
    num_points: int
    num_voxels: int
    grid_size: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Counts of parameters: in all, by the detector's direct children, and without a gradient."""

    total: int
    modules: dict[str, int]
    without_grad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep:
    """What the first step alone reaches."""

    peak_allocated_bytes: int


SCENE_SITE = "scene"
"""The assumption that is no count of the model's: which scene the step meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The evaluation step of the same batch size; `refusal` says why there is none, else empty.

    `after_bytes` is the most that its process reserves where it has trained before.
    """

    allocated_bytes: int = 0
    high_bytes: int = 0
    after_bytes: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one training step asks of a GPU; every command shows a view of it.

    `scene` is None where the model came with inputs of its own.
    `remedies` are the plans that were traced, changes alone first; `recommended` is the one to
    take. `blocks` are the blocks of the timeline, `snapshot` is the allocator's
    history, `evaluation` the step of an evaluation, where they were asked for.
    """

    config: str
    model: str
    target: DeviceTarget
    device: str
    autocast: str
    optimizer: str
    scene: Scene | None
    params: Params
    bev_channels: int | None
    peak: Peak
    first_step: FirstStep
    phases: Mapping[str, PhaseUse]
    timeline: tuple[TimelinePoint, ...]
    layers: tuple[Layer, ...]
    assumptions: tuple[Assumption, ...]
    verdict: Verdict
    oom: OutOfMemory | None
    gpus: tuple[GpuFit, ...]
    findings: tuple[Finding, ...]
    remedies: tuple[Plan, ...]
    silenced: tuple[Finding, ...] = ()
    recommended: Plan | None = None
    wiring: Wiring | None = None
    unmodelled: tuple[str, ...] = ()
    flops: int | None = None
    measurement: Measurement | None = None
    blocks: tuple[BlockLife, ...] = ()
    snapshot: History | None = None
    evaluation: Evaluation | None = None

    @property
    def recommendation(self) -> Recommendation | None:
        """The plan to take."""
        return None if self.recommended is None else self.recommended.recommendation

    @property
    def fits(self) -> bool:
        """Whether the upper end fits the target."""
        return self.verdict is Verdict.FITS

    @property
    def exit_code(self) -> ExitCode:
        if any(f.severity is Severity.ERROR for f in self.findings):
            return ExitCode.FINDINGS
        return _exit_code({self.verdict})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """What is known of a config of which nothing was traced: its faults stop every step.

    `refusal` is what a repository's own code ended with, where it was run. `is_untried` tells that
    no step was asked for, so that it is the findings alone which say whether there are faults.
    """

    config: str
    findings: tuple[Finding, ...]
    silenced: tuple[Finding, ...] = ()
    refusal: str = ""
    is_untried: bool = False

    @property
    def verdict(self) -> None:
        """None: nothing was traced."""

    @property
    def exit_code(self) -> ExitCode:
        if self.is_untried and not any(f.severity is Severity.ERROR for f in self.findings):
            return ExitCode.FITS
        return ExitCode.FINDINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Figures):
    """One row of `bevdiag compare`; `fitting` names the GPUs that hold it."""

    compression: str
    batch_size: int
    autocast: str
    largest_request_bytes: int | None = None
    largest_request_module: str = ""
    difference_bytes: int | None = None
    fitting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareReport:
    """What `bevdiag compare` knows."""

    config: str
    target: DeviceTarget
    scene: Scene
    variants: tuple[Variant, ...]
    assumptions: tuple[Assumption, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        return _exit_code({variant.verdict for variant in self.variants})


def _exit_code(verdicts: Set[Verdict]) -> ExitCode:
    if Verdict.OVER in verdicts:
        return ExitCode.FINDINGS
    return ExitCode.NO_VERDICT if verdicts & {Verdict.UNKNOWN, Verdict.DEPENDS} else ExitCode.FITS
