"""Sets of changes: which are worth tracing, in which order, and what each comes to.

A set takes one change of a group at most. Sets are ordered by their dearest price, then the next
dearest, then by compute: one change to the model is dearer than any that cost only time. What a set
leaves is guessed from its members alone, as if each kept its share of the memory and the compute;
the guess only decides what is traced at all, never what is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from bevdiag.config.edits import flow
from bevdiag.errors import BevdiagError, InputError
from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import Verdict, judge
from bevdiag.memory.workspaces import Bound
from bevdiag.models.bev import bev_joint
from bevdiag.prediction.compressions import Changes
from bevdiag.prediction.session import Session, TracedVariant, Variant
from bevdiag.prediction.summary import unsplit_bytes, upper_end_bytes
from bevdiag.remedies.candidate import Candidate
from bevdiag.remedies.moves import moves
from bevdiag.remedies.results import Change, Offer
from bevdiag.trace.kept_voxels import Scenario

Ids = tuple[str, ...]

_ALLOWANCE = 1.5
"""A set whose guess is above the capacity by more than this is not worth tracing: shares multiply
within a third of what sets come to."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A variant after a set of changes, and the edits that led there."""

    variant: Variant
    members: tuple[Candidate, ...]
    edits: Changes


def apply_set(session: Session, variant: Variant, ids: Sequence[str]) -> Applied:
    """Make the changes one after the other, each as it is for what those before it left.

    Raises:
        BevdiagError: one cannot be made after the others, or leaves a config that makes no sense.
    """
    members: list[Candidate] = []
    edits: Changes = {}
    for wanted in ids:
        known = moves(variant, session.scene(variant), session.options)
        candidate = next((found for found in known if found.id == wanted), None)
        if candidate is None:
            raise InputError(f"{wanted} cannot be made after {', '.join(c.id for c in members)}")
        variant = candidate.applied_to(variant)
        members.append(candidate)
        edits.update(candidate.changes)
    return Applied(variant, tuple(members), edits)


def offer_set(
    session: Session, variant: Variant, goal: DeviceTarget, ids: Ids, known: Mapping[str, Change]
) -> Offer:
    """Trace a set of changes and judge it; `known` describes those that cannot be made."""
    try:
        applied = apply_set(session, variant, ids)
        traced = session.trace(applied.variant, (Scenario.EXPECTED, Scenario.HIGH))
    except BevdiagError as error:
        return refused_set(ids, known, error)
    changes = tuple(change_of(candidate) for candidate in applied.members)
    return offer_of(traced, goal, changes, applied.edits)


def refused_set(ids: Ids, known: Mapping[str, Change], error: BevdiagError) -> Offer:
    """A set of changes of which only this is known."""
    changes = tuple(known[name] for name in ids)
    return Offer(changes=changes, edits={}, verdict=Verdict.UNKNOWN, error=str(error))


def offer_of(
    traced: TracedVariant, goal: DeviceTarget, changes: tuple[Change, ...], edits: Changes
) -> Offer:
    """What a traced variant comes to."""
    expected_trace = traced.traces[Scenario.EXPECTED]
    expected = simulate(expected_trace.stream, goal, until_oom=False)
    upper_trace = traced.traces.get(Scenario.HIGH, expected_trace)
    upper = simulate(upper_trace.stream, goal, until_oom=False, bound=Bound.HIGH)
    verdict = judge(
        goal,
        expected_trace.stream,
        expected,
        upper_trace.stream,
        upper,
        unsplit_bytes=unsplit_bytes(upper),
    )
    return Offer(
        changes=changes,
        edits={".".join(path): flow(value) for path, value in edits.items()},
        verdict=verdict,
        peak_allocated_bytes=expected.peak.allocated_bytes,
        high_bytes=upper_end_bytes(expected, upper),
        reserved_bytes=expected.peak_reserved_bytes,
        params=expected_trace.params_by_module["total"],
        flops=traced.flops // traced.variant.batch_size,
        bev_channels=bev_joint(traced.variant.config).real,
    )


def change_of(candidate: Candidate) -> Change:
    """The candidate without its values."""
    return Change(
        id=candidate.id,
        group=candidate.group,
        title=candidate.title,
        price=int(candidate.price),
        loses=candidate.loses,
        unsafe=candidate.unsafe,
        needs=candidate.needs,
    )


def worth_tracing(
    base: Offer, singles: Sequence[Offer], capacity_bytes: int, below: tuple[int, ...] | None
) -> Iterator[Ids]:
    """Sets of two and more that may fit, the cheapest first, members in the singles' order.

    Args:
        base: the config as it is.
        singles: every change that may take part, traced alone.
        capacity_bytes: what must hold the step.
        below: the prices of a set that fits already; dearer ones are not worth it.
    """
    groups: dict[str, list[Offer]] = {}
    for offer in singles:
        if offer.error == "" and _high(offer) < _high(base):
            groups.setdefault(offer.changes[0].group, []).append(offer)
    sets = []
    for picked in product(*([None, *offers] for offers in groups.values())):
        members = [offer for offer in picked if offer is not None]
        guess = _high(base) * prod(_high(offer) / _high(base) for offer in members)
        if len(members) > 1 and guess <= _ALLOWANCE * capacity_bytes:
            sets.append(members)
    sets.sort(key=lambda members: _cost(base, members))
    for members in sets:
        if below is None or _cost(base, members)[0] < below:
            yield tuple(offer.id for offer in members)


def strongest_set(base: Offer, singles: Sequence[Offer]) -> Ids:
    """The change of each group that alone leaves the least."""
    strongest: dict[str, Offer] = {}
    for offer in sorted(singles, key=_high):
        if offer.error == "" and _high(offer) < _high(base):
            strongest.setdefault(offer.changes[0].group, offer)
    chosen = {offer.id for offer in strongest.values()}
    return tuple(offer.id for offer in singles if offer.id in chosen)


def frontier_of(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """Those that no other beats in both cost and memory, the cheapest first."""
    kept: list[Offer] = []
    for offer in sorted(offers, key=lambda offer: (offer.cost, _high(offer))):
        if offer.error == "" and (not kept or _high(offer) < _high(kept[-1])):
            kept.append(offer)
    return tuple(kept)


def _cost(base: Offer, members: Sequence[Offer]) -> tuple[tuple[int, ...], float, float]:
    prices = sorted((offer.changes[0].price for offer in members), reverse=True)
    shares = prod((offer.flops or 0) / (base.flops or 1) for offer in members)
    return tuple(prices), shares, prod(_high(offer) / _high(base) for offer in members)


def _high(offer: Offer) -> int:
    # What could not be traced has no upper end; it comes last.
    return offer.high_bytes if offer.high_bytes is not None else 2**62
