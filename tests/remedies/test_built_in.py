from pathlib import Path
from typing import Any

import pytest

from bevdiag.config import load_config
from bevdiag.models.interfaces import map_input_of
from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.options import InspectOptions
from bevdiag.remedies.sets import with_fix
from bevdiag.rules.checks import fixes_of
from bevdiag.rules.finding import Fix, Price

CONFIGS = Path(__file__).parents[3] / "shared" / "openpcdet" / "cfgs" / "kitti_models"


def _candidates(config: Path, options: InspectOptions) -> tuple[Any, dict[str, Fix]]:
    source = BuiltIn.read(config, options)
    return source, {candidate.id: candidate for candidate in fixes_of(source)}


@pytest.mark.parametrize("wanted", [{}, {"batch_size": 4}, {"compression": "max"}])
def test_each_change_leaves_a_config_without_new_notes(small: Any, wanted: dict[str, Any]) -> None:
    variant, found = _candidates(small.config, small.options(**wanted))
    for candidate in found.values():
        changed = with_fix(variant, candidate)
        assert changed != variant
        assert changed.config.notes == variant.config.notes, candidate.id
        map_input = map_input_of(changed.config)
        assert map_input.declared == map_input.real, candidate.id


def test_longer_voxels_reach_every_copy_of_the_grid(small: Any) -> None:
    variant, found = _candidates(small.config, small.options())
    changed = with_fix(variant, found["voxel-xy-2"]).config
    assert changed.data.grid_size == (20, 10, 10)
    assert changed.model.backbone_3d.dsvt.input_layer.sparse_shape == (20, 10, 10)
    assert changed.model.backbone_3d.dsvt.output_shape == (20, 10)


def test_what_loses_input_or_moves_the_grid_is_unsafe(small: Any) -> None:
    _, found = _candidates(small.config, small.options())
    unsafe = {name for name, candidate in found.items() if candidate.unsafe}
    assert unsafe == {"voxel-xy-2", "voxel-z-2", "fewer-voxels"}


def test_only_the_users_own_points_say_how_full_voxels_are(small: Any) -> None:
    slots = ("DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_POINTS_PER_VOXEL=9999",)
    _, own = _candidates(small.config, small.options(overrides=slots))
    _, made_up = _candidates(small.config, small.options(overrides=slots, points=()))
    assert own["fewer-points"].unsafe == ""
    assert "synthetic scene" in made_up["fewer-points"].unsafe


def test_nothing_that_the_user_decided_is_changed(small: Any) -> None:
    _, found = _candidates(small.config, small.options(compression="max", batch_size=4))
    assert not any(candidate.group in ("height", "batch") for candidate in found.values())


def test_a_module_that_openpcdet_lacks_is_named(small: Any) -> None:
    _, found = _candidates(small.config, small.options())
    assert "SparseHeightCompression" in found["compression-max"].needs
    assert "HEIGHT_STRIDES" in found["height-strides"].needs
    assert found["dsvt-checkpoint"].needs == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("second.yaml", {"voxel-xy-2", "use-amp", "narrower-2d", "batch-2", "batch-1"}),
        ("pointpillar.yaml", {"voxel-xy-2", "use-amp", "narrower-2d", "batch-2", "batch-1"}),
    ],
)
def test_openpcdets_detectors_have_changes_of_their_own(name: str, expected: set[str]) -> None:
    config = CONFIGS / name
    if not config.exists():
        pytest.skip(f"needs OpenPCDet's config {name} in ../shared/openpcdet")
    variant, found = _candidates(config, InspectOptions(device="meta"))
    assert expected <= set(found)
    assert all(price in Price for price in (c.price for c in found.values()))
    amp = with_fix(variant, found["use-amp"])
    assert (amp.autocast, amp.config.optimization.use_amp) == ("fp16", True)
    smaller = with_fix(variant, found["batch-2"])
    assert (smaller.batch_size, smaller.config.optimization.batch_size_per_gpu) == (2, 2)
    coarse = with_fix(variant, found["voxel-xy-2"]).config
    fine = load_config(config).data.grid_size
    assert coarse.data.grid_size == (fine[0] // 2, fine[1] // 2, fine[2])
