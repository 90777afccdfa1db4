"""How many voxels focal modules keep: counts that depend on values, so never one number.

FocalSparseEncoder: its stem is small, so its decisions are computed for real on the CPU, at random
initialisation with several seeds. They spread widely: a voxel without neighbours gives every
importance channel nearly the same value as any other such voxel, so one sign decides for the whole
scene. No number of seeds bounds that spread, and training moves it further; the upper end is
therefore the count with every decision that the settings allow taken for growth.

VoxelBackBone8xFocal, behind each of its three focal convolutions: the level's own voxels follow
from what the level before kept, so the counts are found level by level, once a scenario. In the
first step they are those of a rehearsal with the weights of a seed. Nobody knows the weights of the
later ones:

- low: no neighbour is on, and every voxel stays;
- expected: as in the first step;
- high: every neighbour on, of all voxels or (with TOPK) of those that open most cells.

Where nothing can be rehearsed, the expected count is one of coin tosses: foreground at random, each
of its neighbours on with a probability of one half.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from statistics import median_low
from typing import Any

import numpy as np
import torch

from bevdiag import sparse
from bevdiag.children import exhausts_host
from bevdiag.config import DetectorConfig
from bevdiag.config.backbone_settings import (
    Backbone3dSettings,
    FocalDsvtSettings,
    FocalEncoderSettings,
    SdaVfeSettings,
    VoxelFocalBackboneSettings,
)
from bevdiag.config.model_settings import DataSettings
from bevdiag.errors import InputError, NoVerdictError
from bevdiag.models.backbones_3d.focal_assumption import decision_for_count, most_growth
from bevdiag.models.backbones_3d.focal_growth import (
    OFFSETS,
    Coords,
    FocalDecision,
    count,
    first_of_each_sample,
    grow,
)
from bevdiag.models.backbones_3d.focal_sampling import Scores, ScoreSampler, decided
from bevdiag.models.backbones_3d.voxel_growth import VoxelGrowth
from bevdiag.models.builder import OneStageDetector, build_detector
from bevdiag.models.interfaces import SpatialShape
from bevdiag.models.vfe.sda_vfe import PackedVoxels
from bevdiag.scenes import Batch
from bevdiag.scenes.scenario import Scenario as Scenario
from bevdiag.sparse.coordinates import Geometry, output_coordinates
from bevdiag.sparse.work import listening
from bevdiag.trace.accumulation import sole_owner_counts
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.pins import Assumption, Pins
from bevdiag.trace.rehearsal import MAX_FLOPS
from bevdiag.trace.workers import workers

_KEPT = ".kept_voxels"
_ENCODER = "backbone_3d.focal_encoder"
SITE = f"{_ENCODER}{_KEPT}"
NUM_SEEDS = 5
"""Odd, so that the expected count is one that a seed really gave."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVoxels(Assumption):
    """What one module keeps of a batch's voxels: possible counts, and a decision for each.

    Attributes:
        incoming: voxels that it is given in the expected case.
        low, expected, high: the largest of the steps after the first.
        decisions: by step; the last one holds for all further steps.
    """

    incoming: int
    is_pinned: bool
    decisions: Mapping[Scenario, Sequence[FocalDecision]]

    @property
    def module(self) -> str:
        """The path of the module that decides."""
        return self.site.removesuffix(_KEPT)

    @property
    def assumption(self) -> Assumption:
        """The count alone, as reports show it."""
        return Assumption(**{part.name: getattr(self, part.name) for part in fields(Assumption)})

    @property
    def num_steps(self) -> int:
        """Steps that differ."""
        return max(map(len, self.decisions.values()))

    def apply(self, model: OneStageDetector, scenario: Scenario, step: int) -> None:
        """Make a model on the meta device decide as this scenario says, in a step from 1 on."""
        module = model.get_submodule(self.module)
        assert isinstance(module, VoxelGrowth)
        decisions = self.decisions[scenario]
        module.decision = decisions[min(step, len(decisions)) - 1]


def between_ends(
    kept: Sequence[KeptVoxels], own: Mapping[Scenario, Sequence[KeptVoxels]]
) -> tuple[KeptVoxels, ...]:
    """Join the counts of the expected scene with the ends that those of other scenes have.

    Args:
        kept: of the expected scene.
        own: the same modules, in the same order, of the scenes of other scenarios.
    """
    for others in own.values():
        kept = [site.widened(other) for site, other in zip(kept, others, strict=True)]
    return tuple(kept)


def settle_kept_voxels(
    config: DetectorConfig, batch: Batch, *, seed: int, pins: Mapping[str, int]
) -> tuple[KeptVoxels, ...]:
    """Find the range of every count that values decide, or take the ones that the user pinned.

    Args:
        config: the detector.
        batch: its scene.
        seed: the first of the seeds that are tried.
        pins: counts by site, or by site and the step from which they hold (see `pins`).

    Raises:
        InputError: a site that does not exist, or a count that cannot be reached.
        NoVerdictError: the encoder's decisions rest on features that are not sampled.
    """
    backbone = config.model.backbone_3d
    modules = _modules_that_decide(backbone)
    pinned = Pins.read(pins, [module + _KEPT for module in modules])
    if not isinstance(backbone, FocalDsvtSettings | VoxelFocalBackboneSettings):
        return ()
    if batch.voxels is None:
        raise NoVerdictError(
            f"{backbone.name} behind {config.model.vfe.name}: which voxels are kept is only "
            "followed where the data loader voxelizes"
        )
    if isinstance(backbone, FocalDsvtSettings):
        return (_settle_encoder(config, backbone.focal_encoder, batch, seed=seed, pins=pinned),)
    x, y, z = config.data.grid_size
    coords, shape = batch.voxel_coords(), (z + 1, y, x)
    rehearse = partial(rehearse_levels, config, backbone, batch, seed)
    return settle_focal_levels(backbone, coords, shape, batch.batch_size, pinned, rehearse)


def _modules_that_decide(backbone: Backbone3dSettings | None) -> tuple[str, ...]:
    if isinstance(backbone, FocalDsvtSettings):
        return (_ENCODER,)
    return MODULES if isinstance(backbone, VoxelFocalBackboneSettings) else ()


def _settle_encoder(
    config: DetectorConfig, encoder: FocalEncoderSettings, batch: Batch, *, seed: int, pins: Pins
) -> KeptVoxels:
    x, y, z = config.data.grid_size
    shape, size = (z, y, x), batch.batch_size
    coords = batch.voxel_coords()
    top_share = encoder.focal_threshold if encoder.focal_topk else None
    if pins.by_step:
        targets = [counts[SITE] for counts in pins.each_step()]
        decisions = [
            pinned_decision(SITE, target, coords, shape, size, top_share) for target in targets
        ]
        largest = max(targets[1:] or targets)
        return KeptVoxels(
            site=SITE,
            incoming=len(coords),
            low=largest,
            expected=largest,
            high=largest,
            used=largest,
            why=pinned_by(targets),
            is_pinned=True,
            decisions=dict.fromkeys(Scenario, decisions),
        )
    vfe = config.model.vfe
    if not isinstance(vfe, SdaVfeSettings):
        raise NoVerdictError(
            f"which voxels FocalSparseEncoder keeps is sampled behind SDAVFE only, not behind "
            f"{vfe.name}: pin the count with --assume {SITE}=COUNT"
        )
    sampler = _sampler(
        vfe,
        encoder.model_copy(update={"focal_threshold": 0.0, "focal_topk": False}),
        config.data,
        batch,
    )

    def kept_with(seed: int) -> tuple[int, FocalDecision, Scores]:
        scores = sampler.sample(seed)
        decision = decided(
            scores, coords, threshold=encoder.focal_threshold, topk=encoder.focal_topk
        )
        return count(coords, decision, shape, size), decision, scores

    seeds = range(seed, seed + NUM_SEEDS)
    with workers(kept_with) as sample:
        sampling = sample(seeds)
        # Meanwhile what every trace needs first is made, so that the tracing workers start with it.
        sole_owner_counts()
        most = most_growth(coords, shape, top_share)
        most_kept = count(coords, most, shape, size)
        sampled = list(sampling)
    sampler.known.update({s: scores for s, (*_, scores) in zip(seeds, sampled, strict=True)})
    kept = sorted(number for number, *_ in sampled)
    decision_for = {number: decision for number, decision, _ in sampled}
    low, expected = kept[0], median_low(kept)
    counts = ", ".join(f"{n:,}" for n in kept)
    return KeptVoxels(
        site=SITE,
        incoming=len(coords),
        low=low,
        expected=expected,
        used=expected,
        high=max(most_kept, kept[-1]),
        why=(
            f"decided by feature values: {NUM_SEEDS} random initialisations kept {counts} of "
            f"{batch.num_voxels:,} voxels; the upper end lets every voxel that may be foreground "
            "spawn all of its neighbours"
        ),
        is_pinned=False,
        decisions={
            Scenario.LOW: [decision_for[low]],
            Scenario.EXPECTED: [decision_for[expected]],
            Scenario.HIGH: [most],
        },
    )


@lru_cache(maxsize=2)
def _sampler(
    vfe: SdaVfeSettings, encoder: FocalEncoderSettings, data: DataSettings, batch: Batch
) -> ScoreSampler:
    """Return what samples a scene, which thresholds have no part in: variants share it."""
    samples = batch.voxels or ()
    packed = PackedVoxels(
        points=torch.from_numpy(np.concatenate([sample.points for sample in samples])),
        num_points=torch.from_numpy(batch.voxel_num_points().astype(np.int64)),
        coords=torch.from_numpy(batch.voxel_coords().astype(np.float32)),
        max_points=samples[0].max_points,
    )
    return ScoreSampler(vfe, encoder, data, packed, spconv=sparse.namespace("cpu"))


# -- VoxelBackBone8xFocal --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FirstDecisions:
    """The decisions by module, each for its voxels' coordinates [N, 4]; why there are none.

    The coordinates' order is the run's own: `decision_at` finds them by their place.
    """

    levels: dict[str, tuple[Coords, FocalDecision]] = field(default_factory=dict)
    failure: str = ""

    def decision_at(self, module: str, coords: Coords) -> FocalDecision:
        """Return the module's decision for these voxels; those the run did not have stay as is."""
        seen, decision = self.levels[module]
        extents = np.concatenate((seen, coords)).max(axis=0).astype(np.int64) + 1
        keys, wanted = (np.ravel_multi_index(tuple(c.T), tuple(extents)) for c in (seen, coords))
        order = np.argsort(keys, kind="stable")
        place = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
        rows = order[place]
        known = keys[rows] == wanted
        return FocalDecision(
            decision.fore_mask[rows] & known, decision.kernel_mask[rows] & known[:, None]
        )


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
    rehearse: Callable[[], FirstDecisions],
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
    first = FirstDecisions(failure=_PINNED_BESIDE) if pins.by_step else rehearse()
    share = settings.threshold if settings.topk else None

    def walk(decide: Decide, pinned: Mapping[str, int]) -> list[_Level]:
        levels: list[_Level] = []
        own, shape = coords, spatial_shape
        for module in MODULES:
            if levels:
                own = output_coordinates(levels[-1].kept, shape, _DOWN)
                z, y, x = _DOWN.output_shape(shape)
                shape = z, y, x
            site = module + _KEPT
            if site in pinned:
                decision = pinned_decision(site, pinned[site], own, shape, batch_size, share)
            else:
                decision = decide(module, own, shape)
            levels.append(_Level(len(own), decision, grow(own, decision, shape, batch_size).coords))
        return levels

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
        site = module + _KEPT
        pinned = [step[site] for step in pins.each_step() if site in step]
        levels.append(
            KeptVoxels(
                site=site,
                incoming=own[Scenario.EXPECTED][-1].incoming,
                low=min(counts.values()),
                expected=counts[Scenario.EXPECTED],
                used=counts[Scenario.EXPECTED],
                high=max(counts.values()),
                why=pinned_by(pinned) if pinned else why,
                is_pinned=bool(pinned),
                decisions={s: [level.decision for level in steps] for s, steps in own.items()},
            )
        )
    return tuple(levels)


def pinned_by(counts: Sequence[int]) -> str:
    """Why a count is what it is, from a pinned site's counts by step."""
    first, *later = counts
    steps = ", ".join(f"{count:,} in step {step}" for step, count in enumerate(later, 2))
    return f"pinned by --assume: {first:,} in step 1, {steps}" if later else "pinned by --assume"


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
    fore = rank < 0.5 if share is None else first_of_each_sample(coords, rank, share)
    size = (len(coords), len(OFFSETS))
    is_on = np.zeros(size, bool) if scenario is Scenario.LOW else rng.random(size) < 0.5
    return FocalDecision(fore, is_on)


# -- the first step ----------------------------------------------------------------------------


class _DecidedError(Exception):
    """All is decided."""


class _TooLargeError(Exception):
    """The run takes more arithmetic than a rehearsal may."""


class _Budget:
    """Counts the arithmetic of sparse layers as it is about to happen."""

    is_counting = True

    def __init__(self) -> None:
        self.flops = 0

    def add(self, flops: int) -> None:
        """Count what a layer computes."""
        self.flops += flops
        if self.flops > MAX_FLOPS:
            raise _TooLargeError


def rehearse_levels(
    config: DetectorConfig,
    settings: VoxelFocalBackboneSettings,
    batch: Batch,
    seed: int,
) -> FirstDecisions:
    """Compute what the backbone decides in its first step, for real on the CPU.

    The detector is built as its config says, with the weights of a seed, and run up to the last
    focal convolution's importance: what follows decides nothing.

    Args:
        config: the detector.
        settings: its 3D backbone's.
        batch: its scene.
        seed: of the weights.
    """
    found = FirstDecisions()

    def note(module: str, output: Any) -> None:
        coords: Coords = output.indices.numpy().copy()
        scores = output.features.sigmoid().numpy()
        found.levels[module] = (
            coords,
            decided(scores, coords, threshold=settings.threshold, topk=settings.topk),
        )
        if module == MODULES[-1]:
            raise _DecidedError

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), listening(_Budget()):
            torch.manual_seed(seed)
            model = build_detector(
                config.model,
                config.data,
                config.class_names,
                spconv=sparse.namespace("cpu"),
                device="cpu",
            )
            for module in MODULES:
                model.get_submodule(f"{module}.conv_imp").register_forward_hook(
                    lambda _module, _inputs, output, name=module: note(name, output)
                )
            assert model.backbone_3d is not None
            model.backbone_3d(model.vfe(real_batch(batch, "cpu")))
    except _DecidedError:
        return found
    except _TooLargeError:
        return FirstDecisions(
            failure=f"the backbone takes more than {MAX_FLOPS:.0e} floating point operations"
        )
    except (MemoryError, RuntimeError) as error:
        if exhausts_host(error):
            return FirstDecisions(failure="the host's memory does not suffice to run the backbone")
        raise
    raise AssertionError("the backbone has no focal convolution")
