"""Counts that depend on values: what is assumed of them, and what the user pinned.

A count is pinned for the whole run, or from some step on.

`SITE` and `SITE@1` pin a count from the first step on, `SITE@3` one from the third on. The keys of
a measured run's kept voxels are of the second kind, so what was measured can be pinned as it is.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from bevdiag.errors import InputError

_Kind = TypeVar("_Kind", bound="Assumption")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A count that depends on values or on the scene: never one number.

    `used` stands behind the headline.
    """

    site: str
    low: int
    expected: int
    high: int
    used: int
    why: str

    def widened(self: _Kind, other: "Assumption") -> _Kind:
        """Return the count with the ends that it has in another scene as well."""
        return replace(self, low=min(self.low, other.low), high=max(self.high, other.high))

    @property
    def spread(self) -> float:
        """How many times the low end the high one is."""
        return self.high / max(self.low, 1)


@dataclass(frozen=True, slots=True)
class Pins:
    """Pinned counts; `by_step` holds those that begin with a step, by site."""

    by_step: Mapping[int, Mapping[str, int]]

    @classmethod
    def read(cls, pins: Mapping[str, int], sites: Collection[str]) -> "Pins":
        """Check the keys of --assume against the model's sites.

        Raises:
            InputError: an unknown site, a step that is none, or a first step left open.
        """
        by_step: dict[int, dict[str, int]] = {}
        for key, count in pins.items():
            site, at, step = key.partition("@")
            if site not in sites:
                has = f"has {', '.join(sites)}" if sites else "has none: no value decides a shape"
                raise InputError(f"--assume {key}: no such site; this model {has}")
            if at and not (step.isdecimal() and int(step) >= 1):
                raise InputError(f"--assume {key}: expected {site}@STEP, a step being 1 or more")
            own = by_step.setdefault(int(step) if at else 1, {})
            if site in own:
                raise InputError(f"--assume {key}: the first step is pinned twice")
            own[site] = count
        for site in sites:
            if any(site in own for own in by_step.values()) and site not in by_step.get(1, {}):
                raise InputError(f"--assume {site}: pin the first step too, with {site}=COUNT")
        return cls(by_step)

    @property
    def num_steps(self) -> int:
        """Steps that differ; the last one's counts hold on."""
        return max(self.by_step, default=1)

    def at(self, step: int) -> dict[str, int]:
        """Return counts by site in a step, 1 being the first."""
        return {
            site: count
            for begin in sorted(self.by_step)
            if begin <= step
            for site, count in self.by_step[begin].items()
        }

    def each_step(self) -> list[dict[str, int]]:
        """`at` for the steps that differ."""
        return [self.at(step) for step in range(1, self.num_steps + 1)]
