"""What `bevdiag fit` found out, ready for any renderer: plain frozen values, bytes as ints."""

from dataclasses import dataclass

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Scene, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPoint:
    """One traced setting; `error` says why it could not be traced."""

    value: int
    verdict: Verdict
    peak_allocated_bytes: int | None = None
    high_bytes: int | None = None
    reserved_bytes: int | None = None
    error: str = ""

    @property
    def fits(self) -> bool:
        return self.verdict is Verdict.FITS


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """The largest setting of one knob that fits.

    Attributes:
        knob: batch, max-voxels or points-per-voxel; `unit` says what it counts.
        now: what the config has.
        largest: the largest value that was traced and fits, None where not even 1 does.
        binds_until: the value from which on a cap changes nothing on this scene, None for a knob
            that always does.
        points: every traced value, in their order.
    """

    config: str
    target: Target
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
