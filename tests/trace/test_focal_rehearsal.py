"""VoxelBackBone8xFocal's first step is computed; its later ones keep their range."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bevdiag import sparse
from bevdiag.config import DetectorConfig, load_config
from bevdiag.config.backbone_settings import VoxelFocalBackboneSettings
from bevdiag.models.builder import build_detector
from bevdiag.scenes import Batch, make_batch
from bevdiag.trace import focal_rehearsal
from bevdiag.trace.focal_levels import MODULES
from bevdiag.trace.focal_rehearsal import rehearse_levels
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.kept_voxels import settle_kept_voxels
from bevdiag.trace.scenarios import KeptVoxels, Scenario

CONFIG = Path(__file__).parents[1] / "rules" / "BEV307" / "fixed.yaml"


@pytest.fixture(scope="module")
def config() -> DetectorConfig:
    return load_config(CONFIG, ("MODEL.BACKBONE_3D.THRESHOLD=0.5",))


@pytest.fixture(scope="module")
def batch(config: DetectorConfig) -> Batch:
    rng = np.random.default_rng(0)
    points = rng.uniform((1, -3, -2, 0), (6, 3, 0, 1), (400, 4)).astype(np.float32)
    data = config.data
    return make_batch(
        [points, points[::2]],
        point_cloud_range=data.point_cloud_range,
        voxel_size=data.voxel_size,
        grid_size=data.grid_size,
        max_points=data.max_points_per_voxel,
        max_voxels=data.max_voxels,
        num_boxes=3,
        num_classes=len(config.class_names),
        seed=0,
        source="test",
    )


@pytest.fixture(scope="module")
def levels(config: DetectorConfig, batch: Batch) -> tuple[KeptVoxels, ...]:
    return settle_kept_voxels(config, batch, seed=0, pins={})


def test_the_first_step_keeps_what_a_run_with_these_weights_keeps(
    config: DetectorConfig, batch: Batch, levels: tuple[KeptVoxels, ...]
) -> None:
    torch.manual_seed(0)
    model: Any = build_detector(
        config.model,
        config.data,
        config.class_names,
        spconv=sparse.namespace("cpu"),
        device="cpu",
    )
    with torch.no_grad():
        model.backbone_3d(model.vfe(real_batch(batch, "cpu")))
    kept = [model.get_submodule(module).num_kept for module in MODULES]
    assert kept == [level.expected for level in levels]


def test_later_steps_keep_their_range(levels: tuple[KeptVoxels, ...]) -> None:
    for level in levels:
        assert level.low < level.expected < level.high
        assert "computed in a rehearsal" in level.why
        first = {id(level.decisions[scenario][0]) for scenario in Scenario}
        assert len(first) == 1
        assert [len(level.decisions[scenario]) for scenario in Scenario] == [2, 1, 2]


def test_other_weights_decide_otherwise(config: DetectorConfig, batch: Batch) -> None:
    settings = config.model.backbone_3d
    assert isinstance(settings, VoxelFocalBackboneSettings)
    first, same, other = (
        rehearse_levels(config, settings, MODULES, batch, seed).levels[MODULES[0]][1].kernel_mask
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_what_is_too_large_is_taken_for_coin_tosses_and_says_so(
    config: DetectorConfig, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(focal_rehearsal, "MAX_FLOPS", 1e3)
    level, *_ = settle_kept_voxels(config, batch, seed=0, pins={})
    assert "nobody computed (the backbone takes more than 1e+03 floating" in level.why
    assert "coin tosses" in level.why


def test_a_pinned_level_leaves_nothing_to_rehearse(
    config: DetectorConfig, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(focal_rehearsal, "build_detector", None)
    pins = {f"{MODULES[0]}.kept_voxels": batch.num_voxels + 5}
    first, second, _ = settle_kept_voxels(config, batch, seed=0, pins=pins)
    assert first.is_pinned
    assert "another level's count is pinned" in second.why
