import pytest

from bevdiag.config import NoteCode, load_config
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
