from bevdiag.config.backbone_settings import (
    VoxelFocalBackboneSettings,
)
from bevdiag.trace.focal_levels import MODULES, settle_focal_levels
from bevdiag.trace.focal_rehearsal import FirstStep
from bevdiag.trace.pins import Pins
from bevdiag.trace.scenarios import Scenario
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
