from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import source_of
from bevdiag.remedies.sets import with_fix
from bevdiag.rules.checks import fixes_of
from bevdiag.rules.declared import height_strides
from bevdiag.rules.finding import Fix, Price

ALL = {
    "voxel-xy-2",
    "voxel-z-2",
    "compression-max",
    "compression-mean",
    "compression-learned",
    "compression-sparse_max",
    "compression-sparse_mean",
    "compression-sparse_sum",
    "dsvt-height-stages",
    "height-strides",
    "fewer-points",
    "fewer-voxels",
    "focal-topk",
    "focal-threshold",
    "dsvt-checkpoint",
}


def _candidates(small: Any, **wanted: Any) -> dict[str, Fix]:
    return {c.id: c for c in fixes_of(small.source(**wanted))}


def test_every_known_change_is_offered_once(small: Any) -> None:
    few_points = ("DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_POINTS_PER_VOXEL=99",)
    assert set(_candidates(small, overrides=few_points)) == ALL


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        (
            {"overrides": ("MODEL.BACKBONE_3D.DSVT.ues_checkpoint=true",)},
            {"dsvt-checkpoint"},
        ),
        (
            {"overrides": ("MODEL.BACKBONE_3D.FOCAL_ENCODER.FOCAL_TOPK=true",)},
            {"focal-topk", "focal-threshold"},
        ),
        ({"overrides": ("MODEL.MAP_TO_BEV.INPUT=encoder",)}, {"dsvt-height-stages"}),
    ],
)
def test_what_is_done_already_is_not_offered(
    small: Any, wanted: dict[str, Any], missing: set[str]
) -> None:
    assert set(_candidates(small, **wanted)) == ALL - {"fewer-points"} - missing


def test_each_change_makes_a_config_that_is_still_valid(small: Any) -> None:
    source = small.source()
    for candidate in fixes_of(source):
        changed = with_fix(source, candidate)
        assert changed != source
        assert changed.config.notes == source.config.notes, candidate.id


def test_every_change_says_what_it_loses(small: Any) -> None:
    for candidate in _candidates(small).values():
        assert candidate.loses
        assert candidate.title
        assert candidate.price in Price


def test_fewer_slots_lose_nothing(small: Any) -> None:
    few_points = ("DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_POINTS_PER_VOXEL=99",)
    source = small.source(overrides=few_points)
    before = source.batch()
    fewer = next(c for c in fixes_of(source) if c.id == "fewer-points")
    after = with_fix(source, fewer).batch()
    assert after.voxel_num_points().tolist() == before.voxel_num_points().tolist()
    assert after.voxels is not None
    assert after.voxels[0].max_points == before.voxel_num_points().max()


def test_a_model_that_voxelizes_itself_has_no_voxels_to_spare(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = small.source()
    dynamic = replace(source.batch(), voxels=None)
    monkeypatch.setattr(BuiltIn, "batch", lambda _: dynamic)
    assert "fewer-voxels" not in {c.id for c in fixes_of(source)}


@pytest.mark.parametrize(
    ("height", "strides"),
    [(1, []), (2, [2]), (10, [2, 5]), (175, [5, 5, 7]), (64, [8, 8]), (41, [2, 3, 7])],
)
def test_heights_are_brought_down_to_one(height: int, strides: list[int]) -> None:
    assert height_strides(height) == strides


@pytest.mark.parametrize("height", range(1, 200))
def test_no_stride_is_large_and_one_level_is_left(height: int) -> None:
    strides = height_strides(height)
    assert all(2 <= stride <= 8 for stride in strides)
    for stride in strides:
        height = -(-height // stride)
    assert height == 1


def test_voxels_get_no_taller_than_the_backbones_strides_take() -> None:
    config = Path(__file__).parents[1] / "rules" / "second.yaml"
    source = source_of(config, InspectOptions(device="meta"))
    assert source.config is not None
    assert source.config.data.grid_size[2] == 40
    assert not any(fix.group == "voxel-z" for fix in fixes_of(source))
