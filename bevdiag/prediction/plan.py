"""A set of edits of a config, traced and judged again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bevdiag.memory.verdict import Verdict
from bevdiag.rules.fix import Fix

if TYPE_CHECKING:
    from bevdiag.prediction.step_source import Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The plan that is recommended: the ids of its changes, and every edit of the config."""

    ids: tuple[str, ...]
    edits: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A set of changes, applied to the config and traced again.

    Attributes:
        changes: its members; none for the config as it is.
        edits: dotted key and new value as YAML, in the order of writing.
        high_bytes: the upper end of the peak, which is what must fit.
        flops: of one step, per sample.
        error: why it could not be traced; the figures are then None.
    """

    changes: tuple[Fix, ...]
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
    def fits(self) -> bool:
        return self.verdict is Verdict.FITS

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
        chosen: the plan to take, None where none fits; `recorded` is its step.
    """

    singles: tuple[Plan, ...]
    combined: tuple[Plan, ...]
    frontier: tuple[Plan, ...]
    chosen: Plan | None
    recorded: "Recorded | None" = None
