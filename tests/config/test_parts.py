"""Sections that are read for themselves, whatever the others say."""

from bevdiag.config import read_document
from bevdiag.config.parts import read_parts


def test_a_fault_leaves_the_other_sections_whole(altered) -> None:
    path = altered(("NUM_FILTERS: [64, 64]", "NUM_FILTERS: [many]"))
    parts = read_parts(read_document(path))
    assert parts.vfe is None
    assert parts.up_to_map() is None
    assert None not in (parts.data, parts.backbone_3d, parts.map_to_bev, parts.dense_head)


def test_a_module_that_is_not_modelled_is_not_reported(altered) -> None:
    path = altered(("NAME: FocalDSVT", "NAME: VoxelNeXt"))
    parts = read_parts(read_document(path))
    assert parts.backbone_3d is None
    assert parts.has_backbone_3d
    assert parts.up_to_map() is None


def test_what_makes_the_map_stands_without_the_rest(altered) -> None:
    path = altered(
        ("NAME: CenterHead", "NAME: PointHeadBox"), ("NAME: CenterPoint", "NAME: PVRCNN")
    )
    made = read_parts(read_document(path)).up_to_map()
    assert made is not None
    assert made.model.map_to_bev.num_bev_features == 22_400
    assert made.data.grid_size == (500, 200, 175)
