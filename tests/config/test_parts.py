"""Sections that are read for themselves, whatever the others say."""

import pytest

from bevdiag.config import Document, parts, read_document
from bevdiag.config.parts import read_parts


def test_a_fault_leaves_the_other_sections_whole(altered) -> None:
    path = altered(("NUM_FILTERS: [64, 64]", "NUM_FILTERS: [many]"))
    found = read_parts(read_document(path))
    assert found.vfe is None
    assert found.up_to_map() is None
    assert None not in (found.data, found.backbone_3d, found.map_to_bev, found.dense_head)


def test_a_module_that_is_not_modelled_is_not_reported(altered) -> None:
    path = altered(("NAME: FocalDSVT", "NAME: VoxelNeXt"))
    found = read_parts(read_document(path))
    assert found.backbone_3d is None
    assert found.has_backbone_3d
    assert found.up_to_map() is None


def test_what_makes_the_map_stands_without_the_rest(altered) -> None:
    path = altered(
        ("NAME: CenterHead", "NAME: PointHeadBox"), ("NAME: CenterPoint", "NAME: PVRCNN")
    )
    made = read_parts(read_document(path)).up_to_map()
    assert made is not None
    assert made.model.map_to_bev.num_bev_features == 22_400
    assert made.data.grid_size == (500, 200, 175)


TEXT = """
N: 3
F: 0.5
B: true
T: word
L: [1, 2, 3]
Z: [1, 0, 3]
M: [1, x, 3]
P: [0.5, 2]
"""


@pytest.fixture
def document(parse) -> Document:
    return Document(parse(TEXT))


@pytest.mark.parametrize(
    ("read", "key", "value"),
    [
        (parts.whole, "N", 3),
        (parts.whole, "F", None),
        (parts.whole, "B", None),
        (parts.whole, "GONE", None),
        (parts.text, "T", "word"),
        (parts.text, "N", None),
        (parts.triple, "L", (1, 2, 3)),
        (parts.triple, "Z", None),
        (parts.triple, "M", None),
        (parts.triple, "P", None),
    ],
)
def test_only_the_wanted_kind_is_read(document, read, key, value) -> None:
    assert read(document, key) == value


def test_lengths_are_as_many_as_asked_for(document) -> None:
    assert parts.lengths(document, "P", 2) == (0.5, 2)
    assert parts.lengths(document, "P", 3) is None
    assert parts.lengths(document, "M", 3) is None


def test_without_a_voxelizer_or_dsvt_there_is_no_key(document) -> None:
    assert parts.voxel_size_key(document) is None
    assert parts.dsvt_key(document) is None
