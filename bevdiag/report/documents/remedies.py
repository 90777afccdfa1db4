"""The documents of what makes a step fit: `bevdiag fix` and `fit`."""

from dataclasses import dataclass
from typing import Literal

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Scene, Target
from bevdiag.remedies.fit_results import FitPoint
from bevdiag.remedies.results import Advice, Change


@dataclass(frozen=True, kw_only=True)
class OfferDocument:
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
class FixDocument:
    """`bevdiag fix`: what would make the step fit, and what was chosen."""

    schema: Literal["bevdiag.fix/1"]
    config: str
    target: Target
    scene: Scene
    unsafe_allowed: bool
    base: OfferDocument
    chosen: OfferDocument | None
    diff: str
    written: bool
    refusal: str
    frontier: tuple[OfferDocument, ...]
    singles: tuple[OfferDocument, ...]
    combined: tuple[OfferDocument, ...]
    advice: tuple[Advice, ...]
    exit_code: ExitCode


@dataclass(frozen=True, kw_only=True)
class FitDocument:
    """`bevdiag fit`; `largest` is null where not even 1 fits."""

    schema: Literal["bevdiag.fit/1"]
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
