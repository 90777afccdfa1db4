"""What `bevdiag fix` found out, ready for any renderer: plain frozen values, bytes as ints."""

from dataclasses import dataclass, field

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.plan import Plan, Recommendation, recommended
from bevdiag.prediction.result import Scene, Target


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
class FixReport:
    """What `bevdiag fix` knows.

    Attributes:
        base: the config as it is.
        singles: every change alone; `combined` every set of several that was traced.
        frontier: of all that may be written, what nothing else beats in both cost and memory,
            the cheapest first.
        chosen: the cheapest set that fits, None where none does or none is needed.
        diff: unified diff of the chosen set's edits.
        written: whether the file was changed.
        refusal: why the chosen set was not or no longer is written, empty where all is well.
        unsafe_allowed: whether unsafe changes took part.
    """

    config: str
    target: Target
    scene: Scene
    base: Plan
    singles: tuple[Plan, ...] = ()
    combined: tuple[Plan, ...] = ()
    frontier: tuple[Plan, ...] = ()
    chosen: Plan | None = None
    diff: str = ""
    written: bool = False
    refusal: str = ""
    unsafe_allowed: bool = False
    advice: tuple[Advice, ...] = field(default=())

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
        return recommended(self.chosen)
