import numpy as np
import pytest
import torch

from bevdiag.models.backbones_3d.focal_growth import FocalDecision
from tests.models.backbones_3d.backbones import (
    MODULE_NAMES,
    build,
    make_batch,
)


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
        meta.get_submodule(name).decision = decision
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
