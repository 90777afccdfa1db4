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
from bevdiag.errors import InputError
from bevdiag.models.backbones_3d.focal_growth import OFFSETS, count
from bevdiag.models.builder import build_detector
from bevdiag.scenes import Batch
from bevdiag.scenes.batch import make_batch
from bevdiag.trace import kept_voxels
from bevdiag.trace.inputs import real_batch
from bevdiag.trace.kept_voxels import (
    MODULES,
    NUM_SEEDS,
    SITE,
    FirstDecisions,
    KeptVoxels,
    Scenario,
    rehearse_levels,
    settle_focal_levels,
    settle_kept_voxels,
)
from bevdiag.trace.pins import Pins
from tests.models.backbones_3d.backbones import GRID, MODULE_NAMES, build, coordinates
from tests.models.backbones_3d.backbones import make_batch as make_small_batch
from tests.models.conftest import MixedDevices

SMALL = Path(__file__).parents[1] / "data" / "small.yaml"
SHAPE = (10, 20, 40)


@pytest.fixture(scope="module")
def config() -> DetectorConfig:
    return load_config(SMALL)


@pytest.fixture(scope="module")
def batch(config: DetectorConfig) -> Batch:
    rng = np.random.default_rng(0)
    points = rng.uniform((0, -4, -1, 0), (8, 4, 1, 1), (300, 4)).astype(np.float32)
    data = config.data
    return make_batch(
        [points],
        point_cloud_range=data.point_cloud_range,
        voxel_size=data.voxel_size,
        grid_size=data.grid_size,
        max_points=data.max_points_per_voxel,
        max_voxels=data.max_voxels,
        num_boxes=3,
        num_classes=2,
        seed=0,
        source="test",
    )


def _settle(config: DetectorConfig, batch: Batch, **wanted: Any) -> KeptVoxels:
    (site,) = settle_kept_voxels(config, batch, **{"seed": 0, "pins": {}, **wanted})
    return site


@pytest.fixture(scope="module")
def ranged(config: DetectorConfig, batch: Batch) -> KeptVoxels:
    return _settle(config, batch)


def test_the_count_is_a_range_of_what_seeds_gave(batch: Batch, ranged: KeptVoxels) -> None:
    assert ranged.low <= ranged.expected <= ranged.high
    assert ranged.used == ranged.expected
    assert ranged.incoming == batch.num_voxels
    assert ranged.site == SITE
    assert not ranged.is_pinned
    assert f"{NUM_SEEDS} random initialisations" in ranged.why


def test_each_decision_leads_to_its_count(batch: Batch, ranged: KeptVoxels) -> None:
    for scenario in Scenario:
        kept = count(batch.voxel_coords(), ranged.decisions[scenario][0], SHAPE, 1)
        assert kept == getattr(ranged, scenario.value)


@pytest.mark.parametrize("seed", [5, 100])
def test_no_seed_keeps_more_than_the_upper_end(
    config: DetectorConfig, batch: Batch, ranged: KeptVoxels, seed: int
) -> None:
    other = _settle(config, batch, seed=seed)
    assert other.high == ranged.high
    assert ranged.high >= max(other.low, other.expected)


def test_the_upper_end_opens_every_neighbour_of_every_voxel(
    batch: Batch, ranged: KeptVoxels
) -> None:
    cells = {tuple(row) for row in batch.voxel_coords()[:, 1:]}
    grown = {
        (z + dz, y + dy, x + dx)
        for z, y, x in cells
        for dz in (-1, 0, 1)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    # As in the original, a new cell must have every coordinate above 0 and below the extent.
    inside = {c for c in grown if all(0 < a < n for a, n in zip(c, SHAPE, strict=True))}
    # Its merging takes some different cells for one, so it keeps fewer yet.
    assert 0.9 * len(inside | cells) < ranged.high <= len(inside | cells)


def test_the_same_seed_gives_the_same_decisions(
    config: DetectorConfig, batch: Batch, ranged: KeptVoxels
) -> None:
    again = _settle(config, batch)
    assert (again.low, again.expected, again.why) == (ranged.low, ranged.expected, ranged.why)
    for scenario in Scenario:
        ours, theirs = again.decisions[scenario][0], ranged.decisions[scenario][0]
        np.testing.assert_array_equal(ours.fore_mask, theirs.fore_mask)


def test_seeds_that_agree_count_each(
    config: DetectorConfig, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = iter([2, 2, 2, 7, 26])

    monkeypatch.setattr(kept_voxels, "decided", lambda *_, **__: next(growth))
    monkeypatch.setattr(kept_voxels, "workers", _one_after_the_other)
    monkeypatch.setattr(
        kept_voxels,
        "count",
        lambda coords, decision, *_: 100 * decision if isinstance(decision, int) else 9999,
    )
    found = _settle(config, batch)
    assert (found.low, found.expected, found.high) == (200, 200, 9999)
    assert "kept 200, 200, 200, 700, 2,600 of" in found.why


class _one_after_the_other:  # noqa: N801  # stands for a function
    def __init__(self, function: Any) -> None:
        self.function = function

    def __enter__(self) -> Any:
        return lambda tasks: map(self.function, tasks)

    def __exit__(self, *_: Any) -> None:
        pass


def test_a_pin_is_taken_for_every_scenario(config: DetectorConfig, batch: Batch) -> None:
    pinned = _settle(config, batch, pins={SITE: 500})
    assert pinned.is_pinned
    assert (pinned.low, pinned.expected, pinned.high) == (500, 500, 500)
    for scenario in Scenario:
        assert count(batch.voxel_coords(), pinned.decisions[scenario][0], SHAPE, 1) == 500


def test_counts_may_be_pinned_by_step(config: DetectorConfig, batch: Batch) -> None:
    pinned = _settle(config, batch, pins={SITE: 500, f"{SITE}@3": 450, f"{SITE}@2": 400})
    for scenario in Scenario:
        decisions = pinned.decisions[scenario]
        assert [count(batch.voxel_coords(), d, SHAPE, 1) for d in decisions] == [500, 400, 450]
    assert pinned.used == 450  # the largest of the steps after the first
    assert pinned.why == "pinned by --assume: 500 in step 1, 400 in step 2, 450 in step 3"


def test_an_unknown_site_is_refused_with_the_known_one(
    config: DetectorConfig, batch: Batch
) -> None:
    with pytest.raises(
        InputError, match=f"--assume elsewhere: no such site; this model has {SITE}"
    ):
        _settle(config, batch, pins={"elsewhere": 1})


@pytest.mark.parametrize("number", [1, 10**6])
def test_a_count_out_of_reach_is_refused(config: DetectorConfig, batch: Batch, number: int) -> None:
    with pytest.raises(InputError, match=f"--assume {SITE}: .*cannot be reached"):
        _settle(config, batch, pins={SITE: number})


def test_topk_bounds_the_upper_end(
    config: DetectorConfig, batch: Batch, ranged: KeptVoxels
) -> None:
    encoder = ("MODEL", "BACKBONE_3D", "FOCAL_ENCODER")
    bounded_config = config.edited(
        {(*encoder, "FOCAL_TOPK"): True, (*encoder, "FOCAL_THRESHOLD"): 0.1}
    )
    bounded = _settle(bounded_config, batch)
    share = int(0.1 * batch.num_voxels)
    assert bounded.high <= batch.num_voxels + share * len(OFFSETS)
    assert bounded.high < ranged.high
    assert bounded.low <= bounded.expected <= bounded.high
    assert bounded.decisions[Scenario.HIGH][0].fore_mask.sum() == share


def _unknown():
    return FirstDecisions(failure="too large")


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
            batch = model(make_small_batch("meta"))
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
def focal_config() -> DetectorConfig:
    return load_config(CONFIG, ("MODEL.BACKBONE_3D.THRESHOLD=0.5",))


@pytest.fixture(scope="module")
def focal_batch(focal_config: DetectorConfig) -> Batch:
    rng = np.random.default_rng(0)
    points = rng.uniform((1, -3, -2, 0), (6, 3, 0, 1), (400, 4)).astype(np.float32)
    data = focal_config.data
    return scenes.make_batch(
        [points, points[::2]],
        point_cloud_range=data.point_cloud_range,
        voxel_size=data.voxel_size,
        grid_size=data.grid_size,
        max_points=data.max_points_per_voxel,
        max_voxels=data.max_voxels,
        num_boxes=3,
        num_classes=len(focal_config.class_names),
        seed=0,
        source="test",
    )


@pytest.fixture(scope="module")
def levels(focal_config: DetectorConfig, focal_batch: Batch) -> tuple[KeptVoxels, ...]:
    return settle_kept_voxels(focal_config, focal_batch, seed=0, pins={})


def test_the_first_step_keeps_what_a_run_with_these_weights_keeps(
    focal_config: DetectorConfig, focal_batch: Batch, levels: tuple[KeptVoxels, ...]
) -> None:
    torch.manual_seed(0)
    model: Any = build_detector(
        focal_config.model,
        focal_config.data,
        focal_config.class_names,
        spconv=sparse.namespace("cpu"),
        device="cpu",
    )
    with torch.no_grad():
        model.backbone_3d(model.vfe(real_batch(focal_batch, "cpu")))
    kept = [model.get_submodule(module).num_kept for module in MODULES]
    assert kept == [level.expected for level in levels]


def test_later_steps_keep_their_range(levels: tuple[KeptVoxels, ...]) -> None:
    for level in levels:
        assert level.low < level.expected < level.high
        assert "computed in a rehearsal" in level.why
        first = {id(level.decisions[scenario][0]) for scenario in Scenario}
        assert len(first) == 1
        assert [len(level.decisions[scenario]) for scenario in Scenario] == [2, 1, 2]


def test_other_weights_decide_otherwise(focal_config: DetectorConfig, focal_batch: Batch) -> None:
    settings = focal_config.model.backbone_3d
    assert isinstance(settings, VoxelFocalBackboneSettings)
    first, same, other = (
        rehearse_levels(focal_config, settings, focal_batch, seed).levels[MODULES[0]][1].kernel_mask
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_what_is_too_large_is_taken_for_coin_tosses_and_says_so(
    focal_config: DetectorConfig, focal_batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_voxels, "MAX_FLOPS", 1e3)
    level, *_ = settle_kept_voxels(focal_config, focal_batch, seed=0, pins={})
    assert "nobody computed (the backbone takes more than 1e+03 floating" in level.why
    assert "coin tosses" in level.why


def test_a_pinned_level_leaves_nothing_to_rehearse(
    focal_config: DetectorConfig, focal_batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_voxels, "build_detector", None)
    pins = {f"{MODULES[0]}.kept_voxels": focal_batch.num_voxels + 5}
    first, second, _ = settle_kept_voxels(focal_config, focal_batch, seed=0, pins=pins)
    assert first.is_pinned
    assert "another level's count is pinned" in second.why
