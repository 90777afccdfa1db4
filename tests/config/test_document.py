import pytest

from bevdiag.config import Document, read_document
from bevdiag.errors import ConfigError

TEXT = """
MODEL:
  VFE: {SIZES: [1, 2]}
STEPS:
  - {NAME: voxels, SIZE: 1}
"""


def test_values_by_dotted_key(parse):
    document = Document(parse(TEXT))
    assert document.get("MODEL.VFE") == {"SIZES": (1, 2)}
    assert document.get("STEPS.voxels.SIZE") == 1
    assert document.get("MODEL.VFE.NO") is None


def test_a_key_that_is_not_written_is_placed_at_its_section(parse):
    document = Document(parse(TEXT))
    assert str(document.location("MODEL.VFE.SIZES.1")) == "c.yaml:3:20"
    assert document.location("MODEL.VFE.NO.X") == document.location("MODEL.VFE")


def test_edits_keep_the_place_of_what_they_replace(parse):
    document = Document(parse(TEXT))
    edited = document.edited(
        {("STEPS", "voxels", "SIZE"): 9, ("MODEL", "NEW"): [1], ("OPT", "AMP"): True}
    )
    assert edited.get("STEPS.0.SIZE") == 9
    assert edited.get("MODEL.NEW") == (1,)
    assert edited.get("OPT") == {"AMP": True}
    assert edited.location("STEPS.0.SIZE") == document.location("STEPS.0.SIZE")
    assert edited.location("MODEL.NEW") == document.location("MODEL")
    assert document.get("STEPS.0.SIZE") == 1


def test_none_removes_a_key_and_a_key_that_is_not_there_is_no_error(parse):
    edited = Document(parse(TEXT)).edited({("MODEL", "VFE"): None, ("NO", "SUCH"): None})
    assert edited.get("MODEL") == {}
    assert edited.get("NO") is None


def test_an_edit_below_a_value_is_refused(parse):
    with pytest.raises(ConfigError, match=r"c.yaml:5:26: STEPS.0.SIZE.X: there is no such place"):
        Document(parse(TEXT)).edited({("STEPS", "0", "SIZE", "X"): 1})


def test_a_keys_own_place_is_reported(write):
    write("base.yaml", "MODEL:\n  VFE:\n    NAME: MeanVFE\n  HEAD: {STRIDE: 8}\n")
    path = write("c.yaml", "_BASE_CONFIG_: base.yaml\nMODEL:\n  HEAD:\n    STRIDE: 1\n")
    document = read_document(path, ("MODEL.VFE.NAME=PillarVFE", "MODEL.VFE.MORE=1"))
    places = {key: document.key_location(key) for key in ("MODEL.VFE", "MODEL.HEAD.STRIDE")}
    assert str(places["MODEL.VFE"]).endswith("base.yaml:2:3")
    assert str(places["MODEL.HEAD.STRIDE"]).endswith("c.yaml:4:5")
    # What was overridden stands on the command line, what is missing with the section around it.
    assert str(document.key_location("MODEL.VFE.NAME")) == "--set:1:16"
    assert str(document.key_location("MODEL.VFE.GONE.DEEPER")).endswith("base.yaml:2:3")


def test_an_edited_value_keeps_its_keys_place(write):
    document = read_document(write("c.yaml", "A:\n  B: 1\n"))
    edited = document.edited({("A", "B"): 2, ("A", "C"): 3})
    assert edited.key_location("A.B") == document.key_location("A.B")
    assert edited.key_location("A.B").column == 3
