"""What `bevdiag fix` and `fit` found out: plain frozen values for any renderer, bytes as ints."""

from dataclasses import dataclass

from bevdiag.errors import ExitCode
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Figures, Plan, Plans, Recommendation, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What helps but cannot be written into the config; figures where it could be traced."""

    id: str
    title: str
    how: str
    verdict: Verdict | None = None
    high_bytes: int | None = None
    reserved_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixReport(Plans):
    """What `bevdiag fix` knows.

    Attributes:
        base: the config as it is.
        diff: unified diff of the chosen set's edits.
        written: whether the file was changed.
        refusal: why the chosen set was not or no longer is written, empty where all is well.
        unsafe_allowed: whether unsafe changes took part.
    """

    config: str
    target: DeviceTarget
    scene: Scene
    base: Plan
    diff: str = ""
    written: bool = False
    refusal: str = ""
    unsafe_allowed: bool = False
    advice: tuple[Advice, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        if self.refusal:
            return ExitCode.NO_VERDICT
        if self.base.fits or self.chosen is not None:
            return ExitCode.FITS
        return ExitCode.NO_VERDICT if self.base.verdict is Verdict.UNKNOWN else ExitCode.FINDINGS

    @property
    def recommended(self) -> Recommendation | None:
        """The chosen set and every edit of it."""
        return None if self.chosen is None else self.chosen.recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPoint(Figures):
    """One traced setting of a knob, without any other change."""

    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """The largest setting of one knob that fits.

    Attributes:
        knob: batch, max-voxels or points-per-voxel; `unit` says what it counts.
        now: what the config has.
        largest: the largest value that was traced and fits, None where not even 1 does.
        binds_until: the value from which on a cap changes nothing on any scene, None for a knob
            that always does.
        points: every traced value, in their order.
    """

    config: str
    target: DeviceTarget
    scene: Scene
    knob: str
    unit: str
    now: int
    largest: int | None
    binds_until: int | None
    points: tuple[FitPoint, ...]

    @property
    def is_binding(self) -> bool:
        """Whether a larger value would make a difference."""
        return self.binds_until is None or (self.largest or 0) < self.binds_until

    @property
    def exit_code(self) -> ExitCode:
        if self.largest is not None:
            return ExitCode.FITS
        unknown = any(point.verdict is Verdict.UNKNOWN for point in self.points)
        return ExitCode.NO_VERDICT if unknown else ExitCode.FINDINGS
