from collections.abc import Callable
from pathlib import Path

import pytest

from bevdiag.config import NoteCode, load_config
from bevdiag.config.agreement import MAX_LAYERS
from bevdiag.errors import ConfigError

HEADS = "CLASS_NAMES_EACH_HEAD: [[Box, Diver]]"


def test_heads_keep_the_classes_of_class_names_alone(altered):
    path = altered((HEADS, "CLASS_NAMES_EACH_HEAD: [[Diver, Buoy], [Box]]"))
    assert load_config(path).model.dense_head.class_names_each_head == (("Diver",), ("Box",))


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ("[[Box]]", "expected every class of CLASS_NAMES once, found 0 of 'Diver'"),
        ("[[Box, Diver], [Box]]", "expected every class of CLASS_NAMES once, found 2 of 'Box'"),
        ("[[Box, Diver], [Buoy]]", "head 2 has no class of CLASS_NAMES"),
    ],
)
def test_classes_and_heads_that_do_not_agree(altered, place, heads, message):
    path = altered((HEADS, f"CLASS_NAMES_EACH_HEAD: {heads}"))
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    where = place(path, heads + "\n")
    assert str(raised.value) == f"{where}: MODEL.DENSE_HEAD.CLASS_NAMES_EACH_HEAD: {message}"


def test_a_vfe_of_padded_voxels_needs_them(altered):
    path = altered(
        ("NAME: transform_points_to_voxels", "NAME: transform_points_to_voxels_placeholder")
    )
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert str(raised.value).endswith(
        "MODEL.VFE.NAME: SDAVFE reads padded voxels: expected transform_points_to_voxels in "
        "DATA_PROCESSOR"
    )


def test_copies_of_the_grid_that_differ_are_noted(altered, place):
    copy = "VOXEL_SIZE: [0.1, 0.2, 0.2]\n    POINT"
    path = altered((copy, copy.replace("0.1", "0.4")))
    (note,) = load_config(path).notes
    assert note.code is NoteCode.COPIES_DIFFER
    assert note.message == "[0.4, 0.2, 0.2] differs from DATA_CONFIG's voxel size [0.1, 0.2, 0.2]"
    assert note.key == "MODEL.VFE.VOXEL_SIZE"
    assert note.location == place(path, "VOXEL_SIZE: [0.4")


def test_all_copies_are_compared(altered):
    options = [
        "DATA_CONFIG.POINT_CLOUD_RANGE=[0, -20, -20, 50, 20, 20]",
        "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.VOXEL_SIZE=[0.1, 0.2, 0.25]",
    ]
    notes = load_config(altered(), options).notes
    assert [note.key.removeprefix("MODEL.") for note in notes] == [
        "VFE.VOXEL_SIZE",
        "BACKBONE_3D.FOCAL_ENCODER.VOXEL_SIZE",
        "VFE.POINT_CLOUD_RANGE",
        "BACKBONE_3D.FOCAL_ENCODER.POINT_CLOUD_RANGE",
    ]


_BLOCKS = (
    "set_info: [[36, 4]] # [voxels a set, blocks]",
    "      set_info: [[36, 4]]\n      d_model",
)


def _blamed(altered: Callable[..., Path], *replacements: tuple[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(altered(*replacements))
    assert str(refused.value).endswith(f"expected at most {MAX_LAYERS} in the whole model")
    return refused.value.key


@pytest.mark.parametrize(
    ("old", "new", "section"),
    [
        ("LAYER_NUMS: [5, 5]", f"LAYER_NUMS: [5, {MAX_LAYERS}]", "BACKBONE_2D"),
        ("NUM_HM_CONV: 2", f"NUM_HM_CONV: {MAX_LAYERS}", "DENSE_HEAD"),
        ("NUM_FILTERS: [64, 64]", f"NUM_FILTERS: {[1] * MAX_LAYERS}", "VFE"),
        (
            "NAME: HeightCompression\n",
            f"NAME: HeightCompression\n    HEIGHT_STRIDES: {[1] * MAX_LAYERS}\n",
            "MAP_TO_BEV",
        ),
    ],
)
def test_the_section_with_most_layers_is_blamed(
    altered: Callable[..., Path], old: str, new: str, section: str
) -> None:
    assert _blamed(altered, (old, new)) == f"MODEL.{section}"


def test_the_blocks_of_dsvt_count(altered: Callable[..., Path]) -> None:
    changes = [(old, old.replace("[36, 4]", f"[36, {MAX_LAYERS}]")) for old in _BLOCKS]
    assert _blamed(altered, *changes) == "MODEL.BACKBONE_3D"


def test_a_deep_model_may_stay_below(altered: Callable[..., Path]) -> None:
    load_config(altered(("LAYER_NUMS: [5, 5]", "LAYER_NUMS: [5, 1800]")))
