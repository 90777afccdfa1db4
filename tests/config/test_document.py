from pathlib import Path

import pytest

from bevdiag.config import Document, load_config, read_document
from bevdiag.config.document import MAX_COMMENTS, IgnoreComment, ignore_comments
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
    assert str(document.key_location("MODEL.VFE.SIZES.1")) == "c.yaml:3:20"
    assert document.key_location("MODEL.VFE.NO.X") == document.key_location("MODEL.VFE")


def test_edits_keep_the_place_of_what_they_replace(parse):
    document = Document(parse(TEXT))
    edited = document.edited(
        {("STEPS", "voxels", "SIZE"): 9, ("MODEL", "NEW"): [1], ("OPT", "AMP"): True}
    )
    assert edited.get("STEPS.0.SIZE") == 9
    assert edited.get("MODEL.NEW") == (1,)
    assert edited.get("OPT") == {"AMP": True}
    assert edited.key_location("STEPS.0.SIZE").line == 5
    assert edited.key_location("MODEL.NEW") == document.root.entries["MODEL"].location
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


def _one(text: str) -> IgnoreComment:
    (comment,) = ignore_comments(text, Path("c.yaml"))
    return comment


def test_behind_a_value_it_speaks_of_its_own_line() -> None:
    comment = _one("A:\n  B: 1 # bevdiag: ignore[BEV203] the map is small\n")
    assert (comment.codes, comment.reason, comment.line) == (("BEV203",), "the map is small", 2)
    assert (comment.location.line, comment.location.column) == (2, 8)


@pytest.mark.parametrize(
    "between", ["", "\n", "  # and a word on it\n", "  # bevdiag: ignore[BEV001] another\n"]
)
def test_alone_it_speaks_of_the_next_line_that_says_something(between: str) -> None:
    text = f"A:\n  # bevdiag: ignore[BEV203] small\n{between}  B: 1\n"
    comment = ignore_comments(text, Path("c.yaml"))[0]
    assert comment.line == text.splitlines().index("  B: 1") + 1


def test_at_the_end_it_speaks_of_itself() -> None:
    assert _one("A: 1\n# bevdiag: ignore[BEV203] small\n").line == 2


def test_several_codes_and_no_reason() -> None:
    comment = _one("A: 1 #bevdiag:ignore[BEV203, BEV306]\n")
    assert (comment.codes, comment.reason) == (("BEV203", "BEV306"), "")


@pytest.mark.parametrize("words", ["ignore BEV203", "ignore[]", "silence[BEV203] x", ""])
def test_what_is_not_understood_has_no_code(words: str) -> None:
    assert _one(f"A: 1 # bevdiag: {words}\n").codes == ()


@pytest.mark.parametrize(
    "text",
    [
        'A: "1 # bevdiag: ignore[BEV203] quoted"\n',
        "A: |\n  # bevdiag: ignore[BEV203] a block of text\n",
        "A: 1#bevdiag: ignore[BEV203] no white space, so no comment\n",
        "A: 1 # as bevdiag says\n",
    ],
)
def test_what_is_no_comment_silences_nothing(text: str) -> None:
    assert ignore_comments(text, Path("c.yaml")) == ()


def test_comments_of_bases_count_in_their_own_file(write) -> None:
    base = write("base.yaml", "B: 1 # bevdiag: ignore[BEV203] small\n")
    path = write("c.yaml", "_BASE_CONFIG_: base.yaml\nA: 1 # bevdiag: ignore[BEV306] once\n")
    ignores = read_document(path).ignores
    assert {(item.location.file, item.codes) for item in ignores} == {
        (base, ("BEV203",)),
        (path, ("BEV306",)),
    }


def test_an_edited_config_keeps_its_comments(altered) -> None:
    path = altered(("BATCH_SIZE_PER_GPU: 1", "BATCH_SIZE_PER_GPU: 1 # bevdiag: ignore[BEV301] why"))
    edited = load_config(path).edited({("OPTIMIZATION", "USE_AMP"): True})
    assert len(edited.document.ignores) == 1


def test_more_comments_than_anybody_writes_are_refused() -> None:
    comment = "# bevdiag: ignore[BEV203] why\n"
    text = "A: 1\n" + comment * MAX_COMMENTS
    assert len(ignore_comments(text, Path("c.yaml"))) == MAX_COMMENTS
    with pytest.raises(ConfigError, match=f"more than {MAX_COMMENTS} comments"):
        ignore_comments(text + comment, Path("c.yaml"))


def test_lines_are_those_that_yaml_counts() -> None:
    comment = _one("A: 1\u2028# bevdiag: ignore[BEV203] small\u2028B: 2\n")
    assert (comment.line, comment.location.line, comment.location.column) == (3, 2, 1)
