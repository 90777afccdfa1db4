"""What a validation is about and what came of it: plain values for any renderer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """One measured training step and what is needed to predict it.

    Attributes:
        scene: "lidar" or "sonar"; `points_per_sample` how many points were asked for.
        compression: the way to the BEV map, None for the config's own.
        overrides: `KEY=value` texts for the config.
        pins: counts that values decided in the measured step.
        cudnn: None for that of the target.
    """

    name: str
    config: Path
    scene: str
    points_per_sample: int
    batch_size: int
    autocast: str
    compression: str | None
    overrides: tuple[str, ...]
    pins: Mapping[str, int]
    cudnn: str | None
    params: int
    peak_allocated_bytes: int
    max_reserved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredOn:
    """The machine of the rows; `profile` is as in `InspectOptions`."""

    gpu: str = "h200"
    torch: str = "2.11.0"
    cudnn: str = "9.19"
    profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row beside its prediction; `error` says why there is none.

    `with_source` marks a prediction that ran the repository's own code.
    """

    row: MeasuredRow
    params: int | None = None
    allocated_bytes: int | None = None
    low_bytes: int | None = None
    high_bytes: int | None = None
    reserved_bytes: int | None = None
    with_source: bool = False
    error: str = ""

    @property
    def allocated_error(self) -> float | None:
        """Signed, relative to the measured peak."""
        return _relative(self.allocated_bytes, self.row.peak_allocated_bytes)

    @property
    def reserved_error(self) -> float | None:
        """Signed, relative to the measured reserved bytes."""
        return _relative(self.reserved_bytes, self.row.max_reserved_bytes)

    @property
    def is_covered(self) -> bool:
        """Whether the upper end is not under the truth."""
        return self.high_bytes is not None and self.high_bytes >= self.row.peak_allocated_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """All rows of some files."""

    machine: MeasuredOn
    outcomes: tuple[Outcome, ...]

    @property
    def predicted(self) -> tuple[Outcome, ...]:
        """The rows that have a prediction."""
        return tuple(outcome for outcome in self.outcomes if not outcome.error)

    def errors(self) -> list[float]:
        """Absolute relative errors of the allocated peaks."""
        return [abs(o.allocated_error) for o in self.predicted if o.allocated_error is not None]

    @property
    def max_reserved_error(self) -> float | None:
        """Largest absolute relative error of the reserved bytes, None without any."""
        errors = [abs(o.reserved_error) for o in self.predicted if o.reserved_error is not None]
        return max(errors, default=None)

    @property
    def median_error(self) -> float | None:
        """Median of `errors`, None without any."""
        return median(self.errors()) if self.predicted else None

    @property
    def max_error(self) -> float | None:
        """Largest of `errors`, None without any."""
        return max(self.errors(), default=None)


def _relative(predicted: int | None, measured: int) -> float | None:
    return None if predicted is None else (predicted - measured) / measured
