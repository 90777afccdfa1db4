"""How many voxels the focal encoder keeps: a count that depends on values, so never one number.

The encoder's stem is small, so its decisions are computed for real on the CPU, at random
initialisation with several seeds. They spread widely: a voxel without neighbours gives every
importance channel nearly the same value as any other such voxel, so one sign decides for the whole
scene. No number of seeds bounds that spread, and training moves it further; the upper end is
therefore the count with every decision that the settings allow taken for growth.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from statistics import median_low

import numpy as np
import torch

from bevdiag import sparse
from bevdiag.config import DetectorConfig
from bevdiag.config.backbone_settings import (
    Backbone3dSettings,
    FocalDsvtSettings,
    FocalEncoderSettings,
    VoxelFocalBackboneSettings,
)
from bevdiag.config.model_settings import DataSettings
from bevdiag.config.vfe_settings import SdaVfeSettings
from bevdiag.errors import NoVerdictError
from bevdiag.models.backbones_3d.focal_assumption import most_growth
from bevdiag.models.backbones_3d.focal_growth import FocalDecision, count
from bevdiag.models.backbones_3d.focal_sampling import Scores, ScoreSampler, decided
from bevdiag.models.vfe.sda_vfe import PackedVoxels
from bevdiag.scenes import Batch
from bevdiag.trace.accumulation import sole_owner_counts
from bevdiag.trace.focal_levels import (
    MODULES,
    pinned_decision,
    rehearse_levels,
    settle_focal_levels,
)
from bevdiag.trace.pins import Pins
from bevdiag.trace.scenarios import KeptVoxels as KeptVoxels
from bevdiag.trace.scenarios import Scenario as Scenario
from bevdiag.trace.scenarios import pinned_by
from bevdiag.trace.workers import workers

_ENCODER = "backbone_3d.focal_encoder"
SITE = f"{_ENCODER}.kept_voxels"
NUM_SEEDS = 5
"""Odd, so that the expected count is one that a seed really gave."""


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
    pinned = Pins.read(pins, [f"{module}.kept_voxels" for module in modules])
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
            module=_ENCODER,
            incoming=len(coords),
            low=largest,
            expected=largest,
            high=largest,
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
        module=_ENCODER,
        incoming=len(coords),
        low=low,
        expected=expected,
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
