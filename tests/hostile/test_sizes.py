"""Sizes that are legal and absurd: an answer or a sentence, in as little time and memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from .corpus import altered_at
from .limits import ended

RULES = Path(__file__).resolve().parents[1] / "rules"
_HUGE = 2**31 - 1

_VOXELIZER = "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels"
_RANGE = "DATA_CONFIG.POINT_CLOUD_RANGE"
_DSVT = "MODEL.BACKBONE_3D.DSVT"

SIZES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "a million filters": ("pointpillar", {"MODEL.BACKBONE_2D.NUM_FILTERS": [10**6, 10**6]}),
    "2^31 filters": ("pointpillar", {"MODEL.BACKBONE_2D.NUM_FILTERS": [_HUGE, _HUGE]}),
    "strides beyond the map": ("pointpillar", {"MODEL.BACKBONE_2D.LAYER_STRIDES": [_HUGE, 1]}),
    "a map beyond bytes": ("pointpillar", {"MODEL.BACKBONE_2D.UPSAMPLE_STRIDES": [1e9, 1e9]}),
    "2^31 points a voxel": ("pointpillar", {f"{_VOXELIZER}.MAX_POINTS_PER_VOXEL": _HUGE}),
    "2000 anchors a cell": (
        "pointpillar",
        {"MODEL.DENSE_HEAD.ANCHOR_GENERATOR_CONFIG.0.anchor_sizes": [[1.0, 1.0, 1.0]] * 2000},
    ),
    "a road of voxels": ("pointpillar", {_RANGE: [0, -3.2, -3, 20480, 3.2, 1]}),
    "a plain of voxels": ("pointpillar", {_RANGE: [0, -102400, -3, 102400, 102400, 1]}),
    "one voxel high": ("second", {_RANGE: [0, -3.2, -3, 6.4, 3.2, -2.9]}),
    "a kernel beyond the volume": ("second", {"MODEL.MAP_TO_BEV.HEIGHT_STRIDES": [_HUGE]}),
    "2^31 objects": ("second", {"MODEL.DENSE_HEAD.TARGET_ASSIGNER_CONFIG.NUM_MAX_OBJS": _HUGE}),
    "sets of 2^31 voxels": (
        "focal_dsvt",
        {f"{_DSVT}.set_info": [[_HUGE, 1]], f"{_DSVT}.INPUT_LAYER.set_info": [[_HUGE, 1]]},
    ),
    "windows of 2^93 voxels": (
        "focal_dsvt",
        {f"{_DSVT}.INPUT_LAYER.window_shape": [[_HUGE, _HUGE, _HUGE]]},
    ),
    "hybrids of 2^62 windows": (
        "focal_dsvt",
        {f"{_DSVT}.INPUT_LAYER.hybrid_factor": [_HUGE, _HUGE, 1]},
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_an_absurd_size_is_answered_or_refused(name: str, tmp_path: Path) -> None:
    config, values = SIZES[name]
    path = tmp_path / "config.yaml"
    path.write_bytes(altered_at(values, RULES / f"{config}.yaml"))
    ending = ended("inspect", str(path), "--device", "meta", "--no-remedies")
    assert ending.code in (0, 1, 2, 3), ending
    assert "internal error" not in ending.err
