"""The documents of what makes a step fit: `bevdiag fix` and `fit`."""

from dataclasses import dataclass
from typing import Literal

from bevdiag.errors import ExitCode
from bevdiag.prediction.plan import Recommendation
from bevdiag.prediction.result import Scene, Target
from bevdiag.remedies.results import Advice, FitPoint
from bevdiag.report.documents.inspect import PlanDocument


@dataclass(frozen=True, kw_only=True)
class FixDocument:
    """`bevdiag fix`: what would make the step fit, and what was chosen."""

    schema: Literal["bevdiag.fix/1"] = "bevdiag.fix/1"
    config: str
    target: Target
    scene: Scene
    unsafe_allowed: bool
    base: PlanDocument
    chosen: PlanDocument | None
    recommended: Recommendation | None
    diff: str
    written: bool
    refusal: str
    frontier: tuple[PlanDocument, ...]
    singles: tuple[PlanDocument, ...]
    combined: tuple[PlanDocument, ...]
    advice: tuple[Advice, ...]
    exit_code: ExitCode


@dataclass(frozen=True, kw_only=True)
class FitDocument:
    """`bevdiag fit`; `largest` is null where not even 1 fits."""

    schema: Literal["bevdiag.fit/1"] = "bevdiag.fit/1"
    config: str
    target: Target
    scene: Scene
    knob: str
    unit: str
    now: int
    largest: int | None
    binds_until: int | None
    points: tuple[FitPoint, ...]
    exit_code: ExitCode
