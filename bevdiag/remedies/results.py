"""What `bevdiag fix` found out, ready for any renderer: plain frozen values, bytes as ints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bevdiag.errors import ExitCode
from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Scene, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a set. `price` ranks its loss, 0 (nothing) to 4 (input data)."""

    id: str
    group: str
    title: str
    price: int
    loses: str
    unsafe: str
    needs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A set of changes, applied to the config and traced again.

    Attributes:
        changes: its members; none for the config as it is.
        edits: dotted key and new value as YAML, in the order of writing.
        high_bytes: the upper end of the peak, which is what must fit.
        flops: of one step, per sample.
        error: why it could not be traced; the figures are then None.
    """

    changes: tuple[Change, ...]
    edits: Mapping[str, str]
    verdict: Verdict
    peak_allocated_bytes: int | None = None
    high_bytes: int | None = None
    reserved_bytes: int | None = None
    params: int | None = None
    flops: int | None = None
    bev_channels: int | None = None
    error: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(change.id for change in self.changes)

    @property
    def id(self) -> str:
        return "+".join(self.ids)

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
    def fits(self) -> bool:
        return self.verdict is Verdict.FITS

    @property
    def cost(self) -> tuple[tuple[int, ...], int]:
        """Order of cost."""
        return self.prices, self.flops or 0


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
    base: Offer
    singles: tuple[Offer, ...] = ()
    combined: tuple[Offer, ...] = ()
    frontier: tuple[Offer, ...] = ()
    chosen: Offer | None = None
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
