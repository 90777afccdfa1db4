from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bevdiag import scenes, sparse
from bevdiag.config import DetectorConfig, load_config
from bevdiag.config.backbone_settings import (
    VoxelFocalBackboneSettings,
)
from bevdiag.models.builder import build_detector
from bevdiag.scenes import Batch
from bevdiag.trace import focal_levels
from bevdiag.trace.focal_levels import MODULES, FirstStep, rehearse_levels, settle_focal_levels
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.kept_voxels import settle_kept_voxels
from bevdiag.trace.pins import Pins
from bevdiag.trace.scenarios import KeptVoxels, Scenario
from tests.models.backbones_3d.backbones import GRID, MODULE_NAMES, build, coordinates, make_batch
from tests.models.conftest import MixedDevices


def _unknown():
    return FirstStep(failure="too large")


def test_counts_are_those_of_the_run_in_every_scenario():
    settings = VoxelFocalBackboneSettings.model_validate({"NAME": "VoxelBackBone8xFocal"})
    x, y, z = GRID
    coords = coordinates()
    levels = settle_focal_levels(settings, coords, (z + 1, y, x), 2, Pins.read({}, []), _unknown)

    assert levels[0].low == levels[0].incoming == len(coords)
    for scenario in Scenario:
        model = build("VoxelBackBone8xFocal", "meta")
        for name, level in zip(MODULE_NAMES, levels, strict=True):
            model.get_submodule(name).decision = level.decisions[scenario][0]
        with MixedDevices():
            batch = model(make_batch("meta"))
        kept = [len(batch["multi_scale_3d_features"][f"x_conv{n}"].indices) for n in (1, 2, 3)]
        assert kept == [getattr(level, scenario.value) for level in levels]


def test_a_pinned_level_is_kept_by_all_scenarios():
    settings = VoxelFocalBackboneSettings.model_validate({"NAME": "VoxelBackBone8xFocal"})
    x, y, z = GRID
    target = len(coordinates()) + 40
    site = f"{MODULES[0]}.kept_voxels"
    pins = Pins.read({site: target, f"{site}@2": target - 20}, [site])
    first, second, _ = settle_focal_levels(
        settings, coordinates(), (z + 1, y, x), 2, pins, _unknown
    )

    assert (first.low, first.expected, first.high) == (target - 20,) * 3
    assert first.is_pinned
    assert first.num_steps == second.num_steps == 2
    assert second.low < second.expected < second.high


CONFIG = Path(__file__).parents[1] / "rules" / "BEV307" / "fixed.yaml"


@pytest.fixture(scope="module")
def config() -> DetectorConfig:
    return load_config(CONFIG, ("MODEL.BACKBONE_3D.THRESHOLD=0.5",))


@pytest.fixture(scope="module")
def batch(config: DetectorConfig) -> Batch:
    rng = np.random.default_rng(0)
    points = rng.uniform((1, -3, -2, 0), (6, 3, 0, 1), (400, 4)).astype(np.float32)
    data = config.data
    return scenes.make_batch(
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
        rehearse_levels(config, settings, batch, seed).levels[MODULES[0]][1].kernel_mask
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_what_is_too_large_is_taken_for_coin_tosses_and_says_so(
    config: DetectorConfig, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(focal_levels, "MAX_FLOPS", 1e3)
    level, *_ = settle_kept_voxels(config, batch, seed=0, pins={})
    assert "nobody computed (the backbone takes more than 1e+03 floating" in level.why
    assert "coin tosses" in level.why


def test_a_pinned_level_leaves_nothing_to_rehearse(
    config: DetectorConfig, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(focal_levels, "build_detector", None)
    pins = {f"{MODULES[0]}.kept_voxels": batch.num_voxels + 5}
    first, second, _ = settle_kept_voxels(config, batch, seed=0, pins=pins)
    assert first.is_pinned
    assert "another level's count is pinned" in second.why
