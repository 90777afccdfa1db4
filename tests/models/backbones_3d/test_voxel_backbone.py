"""VoxelBackBone8x, its residual and its focal kind: sizes, and growth with values and without."""

import numpy as np
import pytest
import torch

from bevdiag.config.backbone_settings import (
    VoxelBackboneSettings,
    VoxelFocalBackboneSettings,
    VoxelResBackboneSettings,
)
from bevdiag.models.backbones_3d.focal_growth import FocalDecision
from bevdiag.models.backbones_3d.voxel_backbone import VoxelBackBone8x, VoxelResBackBone8x
from bevdiag.models.backbones_3d.voxel_backbone_focal import VoxelBackBone8xFocal
from bevdiag.sparse import namespace
from bevdiag.trace.focal_levels import MODULES, settle_focal_levels
from bevdiag.trace.focal_rehearsal import FirstStep
from bevdiag.trace.pins import Pins
from bevdiag.trace.scenarios import Scenario

GRID = (48, 32, 40)
MODULE_NAMES = [name.removeprefix("backbone_3d.") for name in MODULES]
KINDS = {
    "VoxelBackBone8x": (VoxelBackboneSettings, VoxelBackBone8x),
    "VoxelResBackBone8x": (VoxelResBackboneSettings, VoxelResBackBone8x),
    "VoxelBackBone8xFocal": (VoxelFocalBackboneSettings, VoxelBackBone8xFocal),
}


def build(name, device="cpu", in_channels=4, **keys):
    settings, module = KINDS[name]
    options = {"device": torch.device(device)} if "Focal" in name else {}
    with torch.device(device):
        return module(
            settings.model_validate({"NAME": name, **keys}),
            in_channels,
            GRID,
            spconv=namespace(device),
            **options,
        )


def coordinates():
    """Voxels of two samples, two thirds of them in clusters.

    None comes near the planes 0, where merging takes voxels of two rows for one, and which of them
    survives depends on the order of their scores.
    """
    rng = np.random.default_rng(0)
    x, y, z = GRID
    near = rng.integers([20, 14, 20], [26, 20, 26], (2, 200, 3))
    far = rng.integers(12, [z, y, x], (2, 100, 3))
    cells = [np.unique(np.concatenate(pair), axis=0) for pair in zip(near, far, strict=True)]
    samples = [np.insert(own, 0, sample, axis=1) for sample, own in enumerate(cells)]
    return np.concatenate(samples).astype(np.int32)


def make_batch(device):
    coords = coordinates()
    torch.manual_seed(1)
    boxes = torch.zeros(2, 2, 8)
    boxes[:, :, 3:6] = 3
    return {
        "voxel_features": torch.randn(len(coords), 4).to(device),
        "voxel_coords": torch.from_numpy(coords).float(),
        "gt_boxes": boxes.to(device),
        "batch_size": 2,
    }


@pytest.mark.parametrize(
    ("name", "keys", "in_channels", "expected"),
    [
        ("VoxelBackBone8x", {}, 4, 711_872),
        ("VoxelBackBone8x", {}, 5, 712_304),
        ("VoxelResBackBone8x", {}, 4, 2_694_880),
        ("VoxelResBackBone8x", {"USE_BIAS": False}, 5, 2_694_352),
        ("VoxelBackBone8xFocal", {}, 4, 938_896),
        ("VoxelBackBone8xFocal", {"ENLARGE_VOXEL_CHANNELS": 32}, 4, 1_024_192),
    ],
)
def test_parameters_are_those_of_openpcdet(name, keys, in_channels, expected):
    backbone = build(name, "meta", in_channels, **keys)
    assert sum(p.numel() for p in backbone.parameters()) == expected


@pytest.mark.parametrize("pad", [0, [1, 0, 0]])
def test_the_volume_has_the_shape_that_the_settings_tell(pad):
    batch = build("VoxelBackBone8x", last_pad=pad)(make_batch("cpu"))
    depth = 2 if pad == 0 else 3
    assert batch["encoded_spconv_tensor"].spatial_shape == [depth, 4, 6]
    assert batch["encoded_spconv_tensor"].features.shape[1] == 128


@pytest.mark.parametrize(
    "keys", [{}, {"TOPK": False, "MASK_MULTI": True}, {"ENLARGE_VOXEL_CHANNELS": 8}]
)
def test_a_focal_run_without_values_keeps_what_one_with_values_keeps(small, keys):
    torch.manual_seed(0)
    real, meta = (build("VoxelBackBone8xFocal", device, **keys) for device in ("cpu", "meta"))
    seen = {}
    for name in MODULE_NAMES:
        convolution = real.get_submodule(f"{name}.conv_imp")
        convolution.register_forward_hook(
            lambda _, inputs, output, name=name: seen.update({name: output})
        )
    real_batch = real(make_batch("cpu"))
    real_batch["encoded_spconv_tensor"].features.sum().backward()
    for name, output in seen.items():
        decision = _decision(output, topk=keys.get("TOPK", True))
        meta.get_submodule(name).set_decision(decision)
    meta_batch = make_batch("meta")
    with small.mixed_devices():
        meta(meta_batch)["encoded_spconv_tensor"].features.sum().backward()

    ours, theirs = meta_batch["multi_scale_3d_features"], real_batch["multi_scale_3d_features"]
    for level in ours:
        assert ours[level].features.is_meta
        assert _cells(ours[level]) == _cells(theirs[level])
    assert torch.isfinite(real.importance_loss)
    trained = {name for name, p in real.named_parameters() if p.grad is not None}
    assert {name for name, p in meta.named_parameters() if p.grad is not None} == trained


def _decision(output, *, topk):
    scores = output.features.detach().sigmoid().numpy()
    fore = scores[:, -1] > 0.5
    if topk:
        fore[:] = False
        for sample in range(2):
            rows = np.flatnonzero(output.indices[:, 0].numpy() == sample)
            best = np.argsort(-scores[rows, -1], kind="stable")
            fore[rows[best[: len(rows) // 2]]] = True
    return FocalDecision(fore, scores[:, :-1] >= 0.5)


def _cells(sparse):
    return set(map(tuple, sparse.indices.tolist()))


def _unknown():
    return FirstStep(failure="too large")


def test_counts_are_those_of_the_run_in_every_scenario(small):
    settings = VoxelFocalBackboneSettings.model_validate({"NAME": "VoxelBackBone8xFocal"})
    x, y, z = GRID
    coords = coordinates()
    levels = settle_focal_levels(settings, coords, (z + 1, y, x), 2, Pins.read({}, []), _unknown)

    assert levels[0].low == levels[0].incoming == len(coords)
    for scenario in Scenario:
        model = build("VoxelBackBone8xFocal", "meta")
        for name, level in zip(MODULE_NAMES, levels, strict=True):
            model.get_submodule(name).set_decision(level.decisions[scenario][0])
        with small.mixed_devices():
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
