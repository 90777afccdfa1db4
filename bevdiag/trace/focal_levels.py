"""How many voxels VoxelBackBone8xFocal keeps behind each of its three focal convolutions.

The level's own voxels follow from what the level before kept, so the counts are found level by
level, once a scenario. In the first step they are those of a rehearsal with the weights of a seed.
Nobody knows the weights of the later ones:

- low: no neighbour is on, and every voxel stays;
- expected: as in the first step;
- high: every neighbour on, of all voxels or (with TOPK) of those that open most cells.

Where nothing can be rehearsed, the expected count is one of coin tosses: foreground at random, each
of its neighbours on with a probability of one half.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from bevdiag.config.backbone_settings import VoxelFocalBackboneSettings
from bevdiag.errors import InputError
from bevdiag.models.backbones_3d.focal_assumption import decision_for_count, most_growth
from bevdiag.models.backbones_3d.focal_growth import OFFSETS, Coords, FocalDecision, grow
from bevdiag.models.interfaces import SpatialShape
from bevdiag.sparse.coordinates import output_coordinates
from bevdiag.sparse.geometry import Geometry
from bevdiag.trace.focal_rehearsal import FirstStep
from bevdiag.trace.pins import Pins
from bevdiag.trace.scenarios import KeptVoxels, Scenario, pinned_by

MODULES = ("backbone_3d.conv1.1", "backbone_3d.conv2.3", "backbone_3d.conv3.3")
_DOWN = Geometry((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), (0, 0, 0))
_COIN_SEED = 0
_REHEARSED = (
    "decided by feature values: computed in a rehearsal on the CPU, with the weights of one seed, "
    "for the first step; later steps may have any number: the lower end turns no neighbour on, the "
    "upper end all of them"
)
_TOSSED = (
    "decided by feature values, which nobody computed ({}), taken for coin tosses: the lower end "
    "turns no neighbour on, the upper end all of them"
)
_PINNED_BESIDE = "another level's count is pinned"


Decide = Callable[[str, Coords, SpatialShape], FocalDecision]
"""Of a module's voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """One scenario's voxels on their way through a focal convolution."""

    incoming: int
    decision: FocalDecision
    kept: Coords


def settle_focal_levels(
    settings: VoxelFocalBackboneSettings,
    coords: Coords,
    spatial_shape: SpatialShape,
    batch_size: int,
    pins: Pins,
    rehearse: Callable[[], FirstStep],
) -> tuple[KeptVoxels, ...]:
    """Settle the counts of all three levels.

    Args:
        settings: the backbone's.
        coords: its voxels [N, 4]: sample, z, y, x.
        spatial_shape: its first grid.
        batch_size: number of samples.
        pins: counts by site and step.
        rehearse: computes the first step's decisions; where a level is pinned, nothing is run.

    Raises:
        InputError: a pinned count that cannot be reached.
    """
    first = FirstStep(failure=_PINNED_BESIDE) if pins.by_step else rehearse()

    def walk(decide: Decide, counts: Mapping[str, int]) -> list[_Level]:
        return _walk(settings, coords, spatial_shape, batch_size, counts, decide)

    share = settings.threshold if settings.topk else None
    chains = {
        scenario: [walk(partial(_decide, share, scenario), counts) for counts in pins.each_step()]
        for scenario in Scenario
    }
    if not first.failure:
        begin = walk(lambda module, coords, _: first.decision_at(module, coords), {})
        chains = {scenario: [begin, *steps] for scenario, steps in chains.items()}
        chains[Scenario.EXPECTED] = [begin]
    why = _TOSSED.format(first.failure) if first.failure else _REHEARSED
    levels = []
    for number, module in enumerate(MODULES):
        own = {scenario: [chain[number] for chain in steps] for scenario, steps in chains.items()}
        # Of the most voxels that are kept in a step after the first.
        counts = {s: max(len(at.kept) for at in steps[1:] or steps) for s, steps in own.items()}
        site = f"{module}.kept_voxels"
        pinned = [step[site] for step in pins.each_step() if site in step]
        levels.append(
            KeptVoxels(
                module=module,
                incoming=own[Scenario.EXPECTED][-1].incoming,
                low=min(counts.values()),
                expected=counts[Scenario.EXPECTED],
                high=max(counts.values()),
                why=pinned_by(pinned) if pinned else why,
                is_pinned=bool(pinned),
                decisions={s: [level.decision for level in steps] for s, steps in own.items()},
            )
        )
    return tuple(levels)


def _walk(
    settings: VoxelFocalBackboneSettings,
    coords: Coords,
    shape: SpatialShape,
    batch_size: int,
    pins: Mapping[str, int],
    decide: Decide,
) -> list[_Level]:
    share = settings.threshold if settings.topk else None
    levels: list[_Level] = []
    for module in MODULES:
        if levels:
            coords = output_coordinates(levels[-1].kept, shape, _DOWN)
            z, y, x = _DOWN.output_shape(shape)
            shape = z, y, x
        site = f"{module}.kept_voxels"
        if site in pins:
            decision = pinned_decision(site, pins[site], coords, shape, batch_size, share)
        else:
            decision = decide(module, coords, shape)
        kept = grow(coords, decision, shape, batch_size).coords
        levels.append(_Level(len(coords), decision, kept))
    return levels


def pinned_decision(
    site: str, target: int, coords: Coords, shape: SpatialShape, size: int, share: float | None
) -> FocalDecision:
    """Return a decision of a batch of `size` samples that keeps the pinned count.

    Raises:
        InputError: the count cannot be reached.
    """
    try:
        return decision_for_count(coords, target, shape, size, top_share=share)
    except ValueError as error:
        raise InputError(f"--assume {site}: {error}") from error


def _decide(
    share: float | None, scenario: Scenario, module: str, coords: Coords, shape: SpatialShape
) -> FocalDecision:
    if scenario is Scenario.HIGH:
        return most_growth(coords, shape, share)
    rng = np.random.default_rng(_COIN_SEED)
    rank = rng.random(len(coords))
    fore = rank < 0.5
    if share is not None:
        fore[:] = False
        for sample in np.unique(coords[:, 0]):
            rows = np.flatnonzero(coords[:, 0] == sample)
            fore[rows[np.argsort(rank[rows])[: int(len(rows) * share)]]] = True
    size = (len(coords), len(OFFSETS))
    is_on = np.zeros(size, bool) if scenario is Scenario.LOW else rng.random(size) < 0.5
    return FocalDecision(fore, is_on)
