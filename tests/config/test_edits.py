from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bevdiag.config import tree
from bevdiag.config.bases import read_value
from bevdiag.config.document import Document
from bevdiag.config.edits import Changes, edited_text, flow, says
from bevdiag.config.load import read_document
from bevdiag.errors import ConfigError, Location

BASE = """\
RANGE: [0, 1]
STEPS:
  - NAME: one
    SIZE: {train: 4, test: 5}
  - NAME: two
ENCODING:
  used: [x, y]
"""

MAIN = """\
# A comment on top.
NAMES: [Car]

DATA:
  _BASE_CONFIG_: base.yaml
  RANGE: [0, 2] # metres

MODEL:
    NAME: "Det"   # four columns deep

    VFE: {NAME: Mean, FILTERS: [64, 64]}
    LIST:
    - 1
    - 2
    # after the list

    HEAD:
        NAME: Center
        LOSS: {}
        NOTHING:
OPTIM:
  LR: 0.003 # not text
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    path = tmp_path / "main.yaml"
    path.write_text(MAIN)
    return path


def _edited(path: Path, changes: Changes) -> str:
    text = path.read_bytes().decode()
    document = read_document(path)
    after = edited_text(path, text, document, changes)
    assert says(path, after, document, changes)
    path.write_bytes(after.encode())
    again = read_document(path)
    assert tree.plain(again.root) == tree.plain(document.edited(changes).root)
    assert edited_text(path, after, again, changes) == after, "once more changes nothing"
    return after


def _changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = before.splitlines(), after.splitlines()
    gone = [line for line in old if line not in new]
    return gone, [line for line in new if line not in old]


@pytest.mark.parametrize(
    ("changes", "gone", "new"),
    [
        (
            {("DATA", "RANGE"): [0, 3.5]},
            ["  RANGE: [0, 2] # metres"],
            ["  RANGE: [0, 3.5] # metres"],
        ),
        (
            {("MODEL", "NAME"): "Other"},
            ['    NAME: "Det"   # four columns deep'],
            ["    NAME: Other   # four columns deep"],
        ),
        (
            {("MODEL", "VFE", "FILTERS"): [32]},
            ["    VFE: {NAME: Mean, FILTERS: [64, 64]}"],
            ["    VFE: {NAME: Mean, FILTERS: [32]}"],
        ),
        (
            {("MODEL", "VFE", "NORM"): True},
            ["    VFE: {NAME: Mean, FILTERS: [64, 64]}"],
            ["    VFE: {NAME: Mean, FILTERS: [64, 64], NORM: true}"],
        ),
        (
            {("MODEL", "HEAD", "LOSS", "W"): 1.0},
            ["        LOSS: {}"],
            ["        LOSS: {W: 1.0}"],
        ),
        (
            {("MODEL", "HEAD", "NOTHING"): 3},
            ["        NOTHING:"],
            ["        NOTHING: 3"],
        ),
        ({("OPTIM", "AMP"): True, ("OPTIM", "BATCH"): 2}, [], ["  AMP: true", "  BATCH: 2"]),
        ({("MODEL", "HEAD", "STRIDE"): 8}, [], ["        STRIDE: 8"]),
        ({("NEW", "A", "B"): [[1, 2], [3, 4]]}, [], ["NEW:", "  A:", "    B: [[1, 2], [3, 4]]"]),
        ({("MODEL", "LIST"): [5]}, ["    LIST:", "    - 1", "    - 2"], ["    LIST: [5]"]),
        ({("MODEL", "LIST", "1"): 7}, ["    - 2"], ["    - 7"]),
    ],
)
def test_only_what_is_changed_is_touched(
    config: Path, changes: Changes, gone: list[str], new: list[str]
) -> None:
    assert _changed_lines(MAIN, _edited(config, changes)) == (gone, new)


def test_a_bases_value_is_overridden_in_the_main_file(config: Path) -> None:
    after = _edited(config, {("DATA", "ENCODING", "used"): ["x", "y", "z"]})
    assert _changed_lines(MAIN, after)[1] == ["  ENCODING:", "    used: [x, y, z]"]
    assert (config.parent / "base.yaml").read_text() == BASE


def test_a_bases_list_is_written_out_whole(config: Path) -> None:
    after = _edited(
        config, {("DATA", "STEPS", "one", "SIZE", "train"): 9, ("DATA", "STEPS", "two", "P"): 1}
    )
    assert _changed_lines(MAIN, after) == (
        [],
        [
            "  STEPS:",
            "    - NAME: one",
            "      SIZE: {train: 9, test: 5}",
            "    - NAME: two",
            "      P: 1",
        ],
    )


def test_deep_and_shallow_keys_at_one_place_keep_their_sections(config: Path) -> None:
    _edited(config, {("MODEL", "HEAD", "A", "B"): 1, ("MODEL", "Z", "C"): 2, ("Q", "R"): 3})


def test_what_is_there_already_is_no_change(config: Path) -> None:
    assert _edited(config, {("OPTIM", "LR"): 0.003, ("DATA", "RANGE"): [0, 2]}) == MAIN


def test_a_number_is_not_the_flag_that_equals_it(config: Path) -> None:
    _edited(config, {("OPTIM", "LR"): 1})
    assert "LR: true #" in _edited(config, {("OPTIM", "LR"): True})


def test_line_ends_of_windows_and_a_missing_last_one_are_kept(config: Path) -> None:
    config.write_bytes(MAIN.rstrip("\n").replace("\n", "\r\n").encode())
    after = _edited(config, {("OPTIM", "AMP"): True, ("MODEL", "HEAD", "S"): 1})
    assert after.endswith("LR: 0.003 # not text\r\n  AMP: true\r\n")
    assert after.count("\n") == after.count("\r\n") == MAIN.count("\n") + 2


@pytest.mark.parametrize("path", [("A", "K"), ("B", "K"), ("B",), ("C", "K")])
def test_what_stands_for_other_places_too_is_not_written(tmp_path: Path, path: tree.Path) -> None:
    config = tmp_path / "main.yaml"
    config.write_text("A: &a {K: 1}\nB: *a\nC: &c\n  K: 1\n")
    with pytest.raises(ConfigError, match="anchor"):
        edited_text(config, config.read_text(), read_document(config), {path: 2})


def test_a_merged_key_is_overridden_where_it_was_merged(tmp_path: Path) -> None:
    config = tmp_path / "main.yaml"
    config.write_text("A: &a\n  K: 1\nB:\n  <<: *a\n  L: 2\n")
    assert _edited(config, {("B", "K"): 5}).endswith("  L: 2\n  K: 5\n")


def test_a_text_that_says_something_else_is_noticed(config: Path) -> None:
    document = read_document(config)
    assert not says(config, MAIN, document, {("OPTIM", "LR"): 1.0})
    assert not says(config, MAIN.replace("Car", "Bus"), document, {})
    assert says(config, MAIN, document, {})


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31)
    | st.floats(-1e6, 1e6, allow_nan=False)
    | st.text("abcxyz 0123_:#,[]{}'\"-.~!&*?|>%@`\n\t", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abYn~1:"), inner),
    max_leaves=6,
)


@given(plain)
def test_every_plain_value_reads_back_as_itself(value: object) -> None:
    where = Location(Path("x"), 1, 1)
    node = read_value(flow(value), where)
    assert repr(tree.plain(node)) == repr(tree.plain(tree.located(value, where)))
    document = Document(tree.Section({"K": node}, where))
    assert says(Path("x"), f"K: {flow(value)}\n", document, {})


def test_a_block_that_ends_with_an_alias_is_replaced_to_its_end(tmp_path: Path) -> None:
    config = tmp_path / "main.yaml"
    config.write_text("A: &a {K: 1}\nB:\n  - 1\n  - *a\n# next\nC: {K: *a}\n")
    after = _edited(config, {("B",): [2], ("C", "L"): 3})
    assert after == "A: &a {K: 1}\nB: [2]\n# next\nC: {K: *a, L: 3}\n"
