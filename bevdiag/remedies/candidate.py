"""One change to a config: what it edits, what it takes from the detector, how dear that is."""

from dataclasses import dataclass, field, replace
from enum import IntEnum

from bevdiag.config.edits import flow
from bevdiag.prediction.built_in import Variant
from bevdiag.prediction.compressions import Changes


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

    def applied_to(self, variant: Variant) -> Variant:
        """The variant with this change."""
        variant = replace(
            variant,
            autocast=self.autocast or variant.autocast,
            batch_size=self.batch_size or variant.batch_size,
        )
        return variant.edited(self.changes) if self.changes else variant

    def described(self) -> tuple[str, ...]:
        """The change as the user would write it."""
        if not self.changes and self.autocast:
            return (f"--autocast {self.autocast}",)
        return tuple(f"{'.'.join(path)}: {flow(value)}" for path, value in self.changes.items())
