"""The decisions of a policy for one config, each with where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from bevdiag.errors import Location


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as the file says it, as text, and where."""

    text: str
    location: Location


@dataclass(frozen=True, slots=True)
class IgnoredRule:
    """A rule whose findings are silenced, why, and where that is said."""

    code: str
    reason: str
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is decided for one config; None leaves it to the command line and its defaults.

    Attributes:
        gpu, budget: the memory to judge by; where one is said anew, both are.
        margin: what must stay free of it, a share such as 10% or a size.
        torch, cudnn: the versions of the machine that will train.
        autocast, optimizer, batch_size: how it will train.
        assume: counts that depend on values, by site.
        ignore: rules whose findings are silenced.
    """

    gpu: Setting | None = None
    budget: Setting | None = None
    margin: Setting | None = None
    torch: Setting | None = None
    cudnn: Setting | None = None
    autocast: Setting | None = None
    optimizer: Setting | None = None
    batch_size: Setting | None = None
    assume: Mapping[str, Setting] = field(default_factory=dict)
    ignore: Mapping[str, IgnoredRule] = field(default_factory=dict)

    def overridden(self, other: "Policy") -> "Policy":
        """Return this policy with everything that `other` decides."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        if other.gpu is not None or other.budget is not None:
            values |= {"gpu": None, "budget": None}
        for name, mine in values.items():
            theirs = getattr(other, name)
            if isinstance(theirs, Mapping):
                values[name] = {**mine, **theirs}
            elif theirs is not None:
                values[name] = theirs
        return Policy(**values)
