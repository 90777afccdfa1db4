"""`bevdiag fix`: the cheapest set of changes that makes a config's step fit, as edits of its text.

Every set is applied and traced again. Of the sets that fit, the cheapest is written into a copy of
the text; that text is read and traced once more, and only what it then comes to is believed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from itertools import islice
from pathlib import Path

from bevdiag.config.edits import edited_text, says
from bevdiag.config.load import load_config
from bevdiag.config.writing import read_text, replace_text, without_mark
from bevdiag.errors import BevdiagError
from bevdiag.memory.device import DeviceTarget
from bevdiag.models.bev import bev_joint
from bevdiag.prediction.compressions import Changes
from bevdiag.prediction.figures import target_of
from bevdiag.prediction.inspect import scene_of
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.session import Session, Variant
from bevdiag.prediction.target import require_capacity
from bevdiag.remedies.advice import advice_for
from bevdiag.remedies.moves import moves
from bevdiag.remedies.results import FixReport, Offer
from bevdiag.remedies.sets import (
    Ids,
    apply_set,
    change_of,
    frontier_of,
    offer_of,
    offer_set,
    refused_set,
    strongest_set,
    worth_tracing,
)
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.workers import Map, usable_cores, workers

Progress = Callable[[str, float], None]

_DECLARED = ("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES")
_NO_NEWLINE = "\\ No newline at end of file"
_MOST_SETS = 24
"""Sets of several that are traced before the strongest of all is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixOptions:
    """What to do with the answer: whether unsafe changes may take part, and whether to write."""

    unsafe: bool = False
    write: bool = False


def fix(config: Path, options: InspectOptions, how: FixOptions, progress: Progress) -> FixReport:
    """Find the cheapest set of changes that fits, and write it if that is wanted.

    Raises:
        BevdiagError: a config, point file or option that cannot be used.
    """
    session = Session(options)
    goal = require_capacity(session.target())
    variant = session.variant(config)
    mended = _mended_channels(variant)
    variant = variant.edited(mended)
    progress("training step", 0.02)
    traced = session.trace(variant, (Scenario.EXPECTED, Scenario.HIGH))
    base = offer_of(traced, goal, (), mended)
    report = FixReport(
        config=str(config),
        target=target_of(goal),
        scene=scene_of(traced),
        base=base,
        unsafe_allowed=how.unsafe,
    )
    if base.fits and not mended:
        return report
    if base.fits:
        report = replace(report, chosen=base)
    else:
        report = _searched(session, variant, goal, report, progress)
        progress("advice", 0.9)
        ids = report.chosen.ids if report.chosen else ()
        left = apply_set(session, variant, ids).variant
        report = replace(report, advice=advice_for(session, left, goal))
    if report.chosen is None:
        return report
    edits = {**mended, **apply_set(session, variant, report.chosen.ids).edits}
    return _with_edits(session, report, edits, how, config)


def _mended_channels(variant: Variant) -> Changes:
    """NUM_BEV_FEATURES as it arrives, where the config declares another: no step runs before."""
    joint = bev_joint(variant.config)
    return {} if joint.declared == joint.real else {_DECLARED: joint.real}


def _searched(
    session: Session, variant: Variant, goal: DeviceTarget, report: FixReport, progress: Progress
) -> FixReport:
    known = {
        candidate.id: change_of(candidate)
        for candidate in moves(variant, session.scene(variant), session.options)
    }
    singles_ids = [(name,) for name in known]

    def attempt(ids: Ids) -> Offer:
        return offer_set(session, variant, goal, ids, known)

    def refuse(ids: Ids, error: BevdiagError) -> Offer:
        return refused_set(ids, known, error)

    limit = session.options.timeout_seconds
    with workers(attempt, died=refuse, timeout_seconds=limit) as traced:
        singles = []
        for number, offer in enumerate(traced(singles_ids)):
            progress(offer.changes[0].title, 0.05 + 0.45 * number / len(known))
            singles.append(offer)
        allowed = [s for s in singles if report.unsafe_allowed or not s.unsafe]
        combined = _combined(report.base, allowed, goal, traced, progress)
    offers = [*allowed, *combined]
    fitting = [offer for offer in offers if offer.fits]
    return replace(
        report,
        singles=tuple(singles),
        combined=tuple(combined),
        frontier=frontier_of([report.base, *offers]),
        chosen=min(fitting, key=lambda offer: offer.cost, default=None),
    )


def _combined(
    base: Offer,
    singles: Sequence[Offer],
    goal: DeviceTarget,
    traced: Map[Ids, Offer],
    progress: Progress,
) -> list[Offer]:
    """Sets of several, the cheapest first, until one fits; else the strongest of all."""
    assert goal.capacity_bytes is not None
    below = min((single.prices for single in singles if single.fits), default=None)
    sets = worth_tracing(base, singles, goal.capacity_bytes, below)
    tried: list[Offer] = []
    while len(tried) < _MOST_SETS and (batch := list(islice(sets, usable_cores()))):
        progress(f"combinations: {len(tried)} so far", 0.5 + 0.4 * len(tried) / _MOST_SETS)
        tried.extend(traced(batch))
        if any(offer.fits for offer in tried):
            break
    strongest = strongest_set(base, singles)
    if len(strongest) > 1 and strongest not in {offer.ids for offer in tried}:
        tried.extend(traced([strongest]))
    if tried and tried[-1].fits and not any(offer.fits for offer in [*singles, *tried[:-1]]):
        tried.extend(_without_needless(tried[-1], traced))
    return tried


def _without_needless(found: Offer, traced: Map[Ids, Offer]) -> list[Offer]:
    """Smaller sets that fit too, each without the dearest change that can be spared."""
    smaller: list[Offer] = []
    while len(ids := found.ids) > 2:
        fewer = [tuple(name for name in ids if name != left_out) for left_out in ids]
        fitting = [offer for offer in traced(fewer) if offer.fits]
        if not fitting:
            break
        found = min(fitting, key=lambda offer: offer.cost)
        smaller.append(found)
    return smaller


def _with_edits(
    session: Session, report: FixReport, edits: Changes, how: FixOptions, path: Path
) -> FixReport:
    """The report with the diff; where it is wanted, the file written and inspected again."""
    chosen = report.chosen
    assert chosen is not None
    text = read_text(path)
    mark, plain = without_mark(text)
    document = load_config(path).document
    try:
        after = mark + edited_text(path, plain, document, edits)
    except BevdiagError as error:
        return replace(report, refusal=str(error))
    if not says(path, without_mark(after)[1], document, edits):
        return replace(report, refusal="the edited text would not say what was traced")
    report = replace(report, diff=_diff(path, text, after))
    if not how.write or after == text:
        return report
    replace_text(path, after)
    problem = _checked_again(chosen, path, session.options, session.target())
    if problem:
        replace_text(path, text)
        return replace(report, refusal=f"{problem}: the file is as it was")
    return replace(report, written=True)


def _diff(path: Path, before: str, after: str) -> str:
    lines = unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        fromfile=str(path),
        tofile=str(path),
    )
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}\n" for line in lines)


def _checked_again(
    promised: Offer, path: Path, options: InspectOptions, target: DeviceTarget
) -> str:
    """What is wrong with the written config, read and traced from the start; empty if nothing."""
    try:
        session = Session(options)
        traced = session.trace(session.variant(path), (Scenario.EXPECTED, Scenario.HIGH))
        found = offer_of(traced, target, (), {})
    except BevdiagError as error:
        return f"the written config cannot be inspected ({error})"
    if (found.verdict, found.high_bytes) != (promised.verdict, promised.high_bytes):
        return "the written config does not come to what its changes came to"
    return ""
