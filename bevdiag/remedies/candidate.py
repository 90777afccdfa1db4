"""One change to a config: what it edits, what it takes from the detector, how dear that is."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from bevdiag.prediction.compressions import Changes
from bevdiag.prediction.step_source import ConfigSource

Source = TypeVar("Source", bound=ConfigSource)


class Price(IntEnum):
    """What a change takes from the detector, the least first."""

    NOTHING = 0
    TIME = 1
    PRECISION = 2
    MODEL = 3
    DATA = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One change. Candidates of one `group` exclude each other.

    Attributes:
        price: how dear the loss is, as a rank.
        changes: keys of the config and their new values.
        autocast: the precision to switch to, if the change does.
        batch_size: the samples of a step, if the change sets them.
        loses: what the change costs other than memory, in a phrase.
        unsafe: why the detector would no longer see the same input or predict on the same map,
            in a phrase; empty where it does.
        needs: what the training code must have that OpenPCDet's lacks, in a phrase.
    """

    id: str
    group: str
    price: Price
    title: str
    loses: str
    changes: Changes = field(default_factory=dict)
    autocast: str | None = None
    batch_size: int | None = None
    unsafe: str = ""
    needs: str = ""

    def applied_to(self, source: Source) -> Source:
        """The source with this change."""
        changed = source.run_with(batch_size=self.batch_size, autocast=self.autocast)
        return changed.edited(self.changes)
