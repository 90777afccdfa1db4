import pytest

from bevdiag.config.document import Document
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
