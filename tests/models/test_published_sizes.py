"""Parameters of OpenPCDet's own configs, module by module, as counted on its own models."""

import json
from pathlib import Path

import pytest

from bevdiag.config import load_config
from bevdiag.models.builder import build_detector
from bevdiag.sparse import namespace

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
COUNTS = SHARED / "truth" / "openpcdet_params.json"
BUILT = (
    "kitti_models/pointpillar.yaml",
    "kitti_models/second.yaml",
    "nuscenes_models/cbgs_voxel0075_res3d_centerpoint.yaml",
    "once_models/second.yaml",
    "waymo_models/centerpoint.yaml",
    "waymo_models/dsvt_pillar.yaml",
    "waymo_models/dsvt_voxel.yaml",
)


@pytest.mark.skipif(
    not (COUNTS.is_file() and (SHARED / "openpcdet").is_dir()),
    reason="the counts and OpenPCDet's configs are not beside this checkout",
)
@pytest.mark.parametrize("name", BUILT)
def test_every_module_has_the_published_size(name):
    counted = json.loads(COUNTS.read_text())[name]
    config = load_config(SHARED / "openpcdet" / "cfgs" / name)
    spconv = namespace("meta")
    detector = build_detector(
        config.model, config.data, config.class_names, spconv=spconv, device="meta"
    )

    sizes = {
        slot: sum(parameter.numel() for parameter in module.parameters())
        for slot, module in detector.named_children()
    }
    assert sizes == counted["by_module"]
    assert sum(sizes.values()) == counted["params"]
