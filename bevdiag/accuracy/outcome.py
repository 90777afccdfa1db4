"""What a validation is about and what came of it: plain values for any renderer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from bevdiag.errors import ExitCode
from bevdiag.memory.loop import PLAIN, Loop

MEDIAN_LIMIT, LARGEST_LIMIT, RESERVED_LIMIT = 0.005, 0.03, 0.05
"""What bevdiag promises of the rows of each stack and loop: of the error of the peak, in the middle
and at worst, and of the reserved bytes in most rows."""
RESERVED_SHARE = 9, 10
"""Rows of so many: which cached block a request finds is chance in part, and moves whole
segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """One measured training step and what is needed to predict it.

    Attributes:
        config: None where it was measured with one that is not at hand.
        scene: "lidar" or "sonar"; `points_per_sample` how many points were asked for.
        compression: the way to the BEV map, None for the config's own.
        overrides: `KEY=value` texts for the config.
        pins: counts that values decided in the measured steps.
        first_step_bytes: peak of the first step, None where it was not measured or says no more
            than the others: the row has every step's counts.
        cudnn: None for that of the target.
        fork: the repository whose own code was measured, where it is not OpenPCDet's.
        torch: likewise.
        loop: what the measured loop did around the step.
        replaced: by package, what stood for its operators when the row was measured.
    """

    name: str
    config: Path | None
    scene: str
    points_per_sample: int
    batch_size: int
    autocast: str
    compression: str | None
    overrides: tuple[str, ...]
    pins: Mapping[str, int]
    params: int
    peak_allocated_bytes: int
    max_reserved_bytes: int
    first_step_bytes: int | None = None
    cudnn: str | None = None
    fork: str = ""
    torch: str | None = None
    loop: Loop = PLAIN
    replaced: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_focal(self) -> bool:
        """Whether it is of the focal detector, which is built in."""
        return self.compression is not None


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

    `with_source` marks a prediction that ran the repository's own code, `is_unsettled` one with
    counts that are known of the first step alone: what later steps keep depends on gradients, and
    no prediction can know it.
    """

    row: MeasuredRow
    params: int | None = None
    allocated_bytes: int | None = None
    low_bytes: int | None = None
    high_bytes: int | None = None
    reserved_bytes: int | None = None
    first_step_bytes: int | None = None
    with_source: bool = False
    is_unsettled: bool = False
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
    def first_step_error(self) -> float | None:
        """Signed, of the first step's peak; None where the row does not have it."""
        measured = self.row.first_step_bytes
        return None if measured is None else _relative(self.first_step_bytes, measured)

    @property
    def covered(self) -> bool | None:
        """Whether the upper end is not under the truth; None where there is no prediction."""
        high = self.high_bytes
        return None if high is None else high >= self.row.peak_allocated_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """All rows of some files."""

    machine: MeasuredOn
    outcomes: tuple[Outcome, ...]

    @property
    def predicted(self) -> tuple[Outcome, ...]:
        """The rows that have a prediction."""
        return tuple(outcome for outcome in self.outcomes if not outcome.error)

    @property
    def settled(self) -> tuple[Outcome, ...]:
        """Predicted rows whose counts are known in every step."""
        return tuple(o for o in self.predicted if not o.is_unsettled)

    @property
    def unsettled(self) -> tuple[Outcome, ...]:
        """Predicted rows whose counts are known in the first step alone."""
        return tuple(o for o in self.predicted if o.is_unsettled)

    @property
    def misses(self) -> tuple[str, ...]:
        """Each promise that the rows of a stack and loop break, with its name where others are."""
        groups = by_stack_and_loop(self)
        if len(groups) < 2:
            return self._misses()
        return tuple(
            f"{name}: {words}" for name, rows in groups.items() for words in rows._misses()
        )

    def _misses(self) -> tuple[str, ...]:
        rows = self.predicted
        near, most = RESERVED_SHARE
        broken = [
            (any(not row.covered for row in rows), "an upper end is under the truth"),
            (any(row.params != row.row.params for row in rows), "a parameter count is not exact"),
            (_above(self.median_error, MEDIAN_LIMIT), f"median above {MEDIAN_LIMIT:.1%}"),
            (_above(self.max_error, LARGEST_LIMIT), f"largest above {LARGEST_LIMIT:.0%}"),
            (
                self.num_reserved_near * most < near * len(rows),
                f"reserved within {RESERVED_LIMIT:.0%} in {self.num_reserved_near} of {len(rows)}",
            ),
        ]
        return tuple(words for is_broken, words in broken if is_broken)

    @property
    def num_covered(self) -> int:
        """Rows whose upper end is not under the truth."""
        return sum(bool(outcome.covered) for outcome in self.predicted)

    @property
    def num_reserved_near(self) -> int:
        """Predicted rows whose reserved bytes are within the promise."""
        return sum(abs(o.reserved_error or 0.0) <= RESERVED_LIMIT for o in self.predicted)

    @property
    def exit_code(self) -> ExitCode:
        """No verdict without a prediction, over where a promise is broken."""
        if not self.predicted:
            return ExitCode.NO_VERDICT
        return ExitCode.FINDINGS if self.misses else ExitCode.FITS

    @property
    def max_first_step_error(self) -> float | None:
        """Largest absolute relative error of the unsettled rows' first steps, None without any."""
        return max(_absolute(o.first_step_error for o in self.unsettled), default=None)

    @property
    def max_unsettled_error(self) -> float | None:
        """The same of their allocated peaks, as if every step kept what the first one does."""
        return max(_absolute(o.allocated_error for o in self.unsettled), default=None)

    @property
    def max_reserved_error(self) -> float | None:
        """Largest absolute relative error of the reserved bytes, None without any."""
        return max(_absolute(o.reserved_error for o in self.predicted), default=None)

    @property
    def median_error(self) -> float | None:
        """Median absolute relative error of the allocated peaks, None without any."""
        errors = _absolute(o.allocated_error for o in self.predicted)
        return median(errors) if errors else None

    @property
    def max_error(self) -> float | None:
        """Largest of the same, None without any."""
        return max(_absolute(o.allocated_error for o in self.predicted), default=None)


def by_stack_and_loop(validation: Validation) -> Mapping[str, Validation]:
    """Return the rows of each stack and kind of loop, by its name, in their first order."""
    names = dict.fromkeys(_name(o.row, validation.machine) for o in validation.outcomes)
    return {
        name: replace(
            validation,
            outcomes=tuple(
                o for o in validation.outcomes if _name(o.row, validation.machine) == name
            ),
        )
        for name in names
    }


def _name(row: MeasuredRow, machine: MeasuredOn) -> str:
    stack = f"torch {row.torch or machine.torch}, cuDNN {row.cudnn or machine.cudnn}"
    loop = row.loop
    kinds = {
        "evaluation": loop.evaluates,
        f"DDP, {loop.gpus} GPUs": loop.gpus > 1,
        "GradScaler, accumulation": loop.scaler or loop.accumulate > 1,
    }
    kind = next((kind for kind, applies in kinds.items() if applies), "")
    return f"{stack}, {kind}" if kind else stack


def _absolute(errors: Iterable[float | None]) -> list[float]:
    return [abs(error) for error in errors if error is not None]


def _relative(predicted: int | None, measured: int) -> float | None:
    return None if predicted is None else (predicted - measured) / measured


def _above(error: float | None, limit: float) -> bool:
    return error is not None and error > limit
