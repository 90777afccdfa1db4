"""The checks across fields, and every error of the shipped model's sections with its place."""

import pytest

from bevdiag.config import load_config
from bevdiag.errors import ConfigError

BACKBONE = "MODEL.BACKBONE_3D"
LAYER = f"{BACKBONE}.DSVT.INPUT_LAYER"
INNER = "d_model: [128]\n        set_info: [[36, 4]]"
OUTER = "[DSVTBlock]\n      set_info: [[36, 4]]\n      d_model: [128]"


def two_stages(strides: str, d_model: int = 128, nhead: int = 8) -> list[tuple[str, str]]:
    """The replacements that give the shipped model's DSVT a second stage."""
    sizes, sets = f"[{d_model}, {d_model}]", "[[36, 2], [36, 2]]"
    window, shifts = "[25, 20, 25]", "[[0, 0, 0], [10, 12, 12]]"
    return [
        (INNER, f"d_model: {sizes}\n        set_info: {sets}"),
        (OUTER, f"[DSVTBlock, DSVTBlock]\n      set_info: {sets}\n      d_model: {sizes}"),
        (f"[{window}]", f"[{window}, {window}]"),
        (f"[{shifts}]", f"[{shifts}, {shifts}]"),
        ("nhead: [8]", f"nhead: [{nhead}, {nhead}]"),
        ("dim_feedforward: [256]", "dim_feedforward: [256, 256]"),
        ("downsample_stride: []", f"downsample_stride: {strides}"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "blamed", "message"),
    [
        (
            "downsample_stride: []",
            "downsample_stride: [1, 2, 4]",
            "1, 2, 4]",
            f"{LAYER}.downsample_stride.0: expected a list of 3 whole numbers, found 1",
        ),
        (
            "downsample_stride: []",
            "downsample_stride: [[1, 2, 4]]",
            "[[1, 2, 4]]",
            f"{LAYER}.downsample_stride: expected 0 entries, one [dx, dy, dz] for each transition "
            "between the 1 stage(s) of block_name, found 1",
        ),
        (
            "sparse_shape: [500, 200, 175]",
            "sparse_shape: [175, 200, 500]",
            "[175, 200, 500]",
            f"{LAYER}.sparse_shape: expected [x, y, z] with z below x, as DSVT asserts, found "
            "[175, 200, 500]",
        ),
        (
            "window_shape: [[25, 20, 25]]",
            "window_shape: [[25, 20, 1]]",
            "[25, 20, 1]",
            f"{LAYER}.window_shape.0: the stage's grid is 175 voxels high but a window of it 1: "
            "expected both to be 1 or neither",
        ),
        (
            "nhead: [8]",
            "nhead: [7]",
            "[7]",
            f"{BACKBONE}.DSVT.nhead: expected a divisor of d_model 128, found 7",
        ),
        (
            "nhead: [8]",
            "nhead: [8, 8]",
            "[8, 8]",
            f"{BACKBONE}.DSVT.nhead: expected one entry for each of the 1 stage(s) of block_name, "
            "found 2",
        ),
        (
            "activation: gelu",
            "activation: galu",
            "galu",
            f"{BACKBONE}.DSVT.activation: expected 'relu' or 'gelu', found the text 'galu'; did "
            "you mean 'gelu'?",
        ),
        (
            "dropout: 0.0",
            "dropout: 1",
            "1\n      activation",
            f"{BACKBONE}.DSVT.dropout: expected a number below 1.0, found 1",
        ),
        (
            "NAME: FocalSparseEncoder",
            "NAME: FocalSparse",
            "FocalSparse\n",
            f"{BACKBONE}.FOCAL_ENCODER.NAME: expected 'FocalSparseEncoder', found the text "
            "'FocalSparse'; did you mean 'FocalSparseEncoder'?",
        ),
        (
            "NUM_BEV_FEATURES: 22400",
            'NUM_BEV_FEATURES: "22400"',
            '"22400"',
            "MODEL.MAP_TO_BEV.NUM_BEV_FEATURES: expected a whole number, found the text '22400'",
        ),
        (
            "INPUT: dsvt",
            "INPUT: Dsvt",
            "Dsvt",
            "MODEL.MAP_TO_BEV.INPUT: expected 'dsvt' or 'encoder', found the text 'Dsvt'; did you "
            "mean 'dsvt'?",
        ),
        (
            "LAYER_STRIDES: [1, 2]",
            "LAYER_STRIDES: [1, 2, 2]",
            "[1, 2, 2]",
            "MODEL.BACKBONE_2D.LAYER_STRIDES: expected 2 entries as in LAYER_NUMS, found 3",
        ),
        (
            "NUM_UPSAMPLE_FILTERS: [256, 256]",
            "NUM_UPSAMPLE_FILTERS: [256]",
            "[256]\n\n",
            "MODEL.BACKBONE_2D.NUM_UPSAMPLE_FILTERS: expected 2 entries as in UPSAMPLE_STRIDES, "
            "found 1",
        ),
        (
            "UPSAMPLE_STRIDES: [1, 2]",
            "UPSAMPLE_STRIDES: [2]",
            "[2]",
            "MODEL.BACKBONE_2D.UPSAMPLE_STRIDES: expected 2 entries, one a level of LAYER_NUMS, "
            "found 1",
        ),
        (
            "HEAD_ORDER: [center, center_z, dim, rot]",
            "HEAD_ORDER: [center, velocity]",
            "[center, velocity]",
            "MODEL.DENSE_HEAD.SEPARATE_HEAD_CFG.HEAD_ORDER: 'velocity' is not defined in HEAD_DICT",
        ),
        (
            "center_z: {out_channels: 1, num_conv: 2}",
            "center_z: {out_channels: -1, num_conv: 2}",
            "-1, num_conv",
            "MODEL.DENSE_HEAD.SEPARATE_HEAD_CFG.HEAD_DICT.center_z.out_channels: expected a whole "
            "number above 0, found -1",
        ),
        (
            "OPTIMIZER: adam_onecycle",
            "OPTIMIZER: adam_oncycle",
            "adam_oncycle",
            "OPTIMIZATION.OPTIMIZER: expected 'adam' or 'adamw' or 'sgd' or 'adam_onecycle' or "
            "'adam_cosineanneal', found the text 'adam_oncycle'; did you mean 'adam_onecycle'?",
        ),
        (
            "USE_NORM: true",
            "USE_NORM: 1",
            "1\n    NUM_FILTERS",
            "MODEL.VFE.USE_NORM: expected true or false, found 1",
        ),
        (
            "NUM_FILTERS: [64, 64]",
            "NUM_FILTERS: []",
            "[]\n    VOXEL_SIZE",
            "MODEL.VFE.NUM_FILTERS: expected a list of whole numbers, at least 1, found a list of "
            "0",
        ),
    ],
)
def test_what_is_wrong_and_where(altered, place, old, new, blamed, message):
    path = altered((old, new))
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert str(raised.value) == f"{place(path, blamed)}: {message}"


def test_learned_needs_its_input_features(altered):
    path = altered(("NAME: HeightCompression", "NAME: SparseHeightCompression\n    MODE: learned"))
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert str(raised.value).endswith(
        "MODEL.MAP_TO_BEV.MODE: learned needs INPUT_FEATURES, the C * D channels that it reads"
    )


def test_two_stages_with_one_transition(altered):
    config = load_config(altered(*two_stages("[[1, 1, 5]]")))
    dsvt = config.model.backbone_3d.dsvt
    assert dsvt.num_stages == 2
    assert dsvt.input_layer.downsample_stride == ((1, 1, 5),)


def test_a_stage_that_pools_the_height_away_needs_a_flat_window(altered):
    with pytest.raises(ConfigError) as raised:
        load_config(altered(*two_stages("[[1, 1, 175]]")))
    assert f"{LAYER}.window_shape.1: the stage's grid is 1 voxels high but" in str(raised.value)


def test_attention_between_stages_has_eight_heads(altered):
    with pytest.raises(ConfigError) as raised:
        load_config(altered(*two_stages("[[1, 1, 5]]", d_model=100, nhead=4)))
    message = "DSVT.d_model: reduction_type attention has 8 heads: expected a multiple of it, found"
    assert f"{message} 100" in str(raised.value)


def test_the_copy_in_the_input_layer_must_agree(altered):
    path = altered(("d_model: [128]\n        set_info", "d_model: [64]\n        set_info"))
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert f"{LAYER}.d_model: expected the same list as DSVT's own d_model" in str(raised.value)
