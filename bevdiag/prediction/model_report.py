"""What there is to tell of a model that has no config."""

from dataclasses import dataclass

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.memory_use import OutOfMemory, Peak, PhasePeak
from bevdiag.prediction.result import Assumption, InspectReport, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """A model's training step, judged; the attributes are those of an `InspectReport`."""

    target: Target
    verdict: Verdict
    peak: Peak
    phases: tuple[PhasePeak, ...]
    first_step_peak_bytes: int
    oom: OutOfMemory | None
    unmodelled: tuple[str, ...]
    assumptions: tuple[Assumption, ...] = ()


StepReport = InspectReport | ModelReport
