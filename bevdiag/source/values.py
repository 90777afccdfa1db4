"""Counts that depend on feature values: assumed, told, and open to the user's correction.

A mask, an order or an index that comes out of features has no values here. Where one decides how
many rows go on, or which coordinates do, it is filled in: a mask with a stated share of ones, an
order with a random permutation. Every such place becomes an assumption with a low, an expected and
a high count.
"""

import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import torch

from bevdiag.source.places import user_place

EXPECTED_SHARE = 0.5
"""No knowledge at all: half of the rows pass a test on features; the range is none to all."""
_UNKNOWN_SHARE = (
    EXPECTED_SHARE,
    f"a test on features decides; {EXPECTED_SHARE:.0%} of the rows are taken to",
)


class Scenario(str, Enum):
    """Which of the possible counts a trace is run with."""

    LOW = "low"
    EXPECTED = "expected"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAssumption:
    """A place in the repository where a count depends on values, and the largest one seen there."""

    site: str
    low: int
    expected: int
    high: int
    used: int
    why: str


class AssumedValues:
    """Fills in values for one trace.

    Args:
        scenario: which end of each range to take.
        pins: counts by site, from the user.

    Attributes:
        module: tells the module that is running, for places outside of the repository's code.
        assumptions: what was assumed so far, by site.
    """

    def __init__(self, scenario: Scenario, pins: Mapping[str, int]) -> None:
        self.module: Callable[[], str] = str
        self._scenario = scenario
        self._pins = pins
        self._random = torch.Generator().manual_seed(0)
        self._masks: dict[int, torch.Tensor] = {}
        self._negations: dict[int, tuple[torch.Tensor, weakref.ref[torch.UntypedStorage]]] = {}
        self._refs: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._ones: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._shares: dict[tuple[int, ...], tuple[float, str]] = {}
        self.assumptions: dict[str, SourceAssumption] = {}

    def count(self, total: int, *, expected: int, why: str, kind: str = "") -> int:
        """How many of `total` rows go on at the place that asks."""
        site = user_place(sys._getframe(1), self.module()) + (f":{kind}" if kind else "")
        low, high = min(1, total), total
        by_scenario = {Scenario.LOW: low, Scenario.EXPECTED: expected, Scenario.HIGH: high}
        used = by_scenario[self._scenario]
        if site in self._pins:
            low = expected = high = used = min(self._pins[site], total)
            why = "pinned by --assume"
        seen = self.assumptions.get(site)
        if seen is None or seen.high < high:
            self.assumptions[site] = SourceAssumption(
                site=site, low=low, expected=expected, high=high, used=used, why=why
            )
        return used

    def mask(self, mask: torch.Tensor) -> torch.Tensor:
        """See `bevdiag.trace.unknown_values.UnknownValues`."""
        storage = mask.untyped_storage()
        key = storage._cdata
        ones = self._ones.get(key)
        if ones is not None and ones() is storage:
            return torch.ones(mask.shape, dtype=torch.bool)
        negation = self._negations.get(key)
        if negation is not None and negation[1]() is not None:
            return ~self.mask(negation[0])
        known = self._masks.get(key)
        if known is not None and known.numel() == mask.numel():
            return known.view(mask.shape)
        total = mask.numel()
        share, why = self._shares.get(tuple(mask.shape[1:]), _UNKNOWN_SHARE)
        count = self.count(total, expected=round(total * share), why=f"{why} pass")
        filled = torch.zeros(total, dtype=torch.bool)
        filled[torch.randperm(total, generator=self._random)[:count]] = True
        self._keep(key, mask, filled)
        return filled.view(mask.shape)

    def expect_share(self, shape: tuple[int, ...], share: float, why: str) -> None:
        """Of masks [any, *shape], the share of ones that is to be expected, and its basis."""
        self._shares[shape] = (share, why)

    def filled_with_ones(self, tensor: torch.Tensor) -> None:
        """A meta tensor of which it is known that every element is one."""
        storage = tensor.untyped_storage()
        self._ones[storage._cdata] = weakref.ref(storage)

    def written(self, tensor: torch.Tensor) -> None:
        """A tensor's values have changed: nothing is known of them any more."""
        self._ones.pop(tensor.untyped_storage()._cdata, None)

    def negated(self, mask: torch.Tensor, result: torch.Tensor) -> None:
        """See `bevdiag.trace.unknown_values.UnknownValues`."""
        storage = result.untyped_storage()
        self._negations[storage._cdata] = (mask, weakref.ref(storage))

    def order(self, shape: tuple[int, ...], dim: int, length: int) -> torch.Tensor:
        """See `bevdiag.trace.unknown_values.UnknownValues`."""
        picked = torch.randperm(shape[dim], generator=self._random)[:length]
        along = [1] * len(shape)
        along[dim] = length
        wanted = [*shape]
        wanted[dim] = length
        return picked.view(along).expand(wanted).contiguous()

    def rows(self, index: torch.Tensor, size: int) -> torch.Tensor:
        """See `bevdiag.trace.unknown_values.UnknownValues`."""
        total = index.numel()
        picked = torch.randperm(size, generator=self._random)
        repeats = -(-total // max(size, 1))
        return picked.repeat(repeats)[:total].view(index.shape)

    def distinct(self, count: int) -> int:
        """See `bevdiag.trace.unknown_values.UnknownValues`."""
        return self.count(
            count,
            expected=round(count * EXPECTED_SHARE),
            why=f"distinct values among features; {EXPECTED_SHARE:.0%} are taken to be distinct",
        )

    def _keep(self, key: int, mask: torch.Tensor, filled: torch.Tensor) -> None:
        self._masks[key] = filled

        def forget(_: object) -> None:
            self._masks.pop(key, None)
            self._refs.pop(key, None)

        self._refs[key] = weakref.ref(mask.untyped_storage(), forget)
