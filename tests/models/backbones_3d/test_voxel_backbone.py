import pytest

from tests.models.backbones_3d.backbones import build, make_batch


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
