"""Comments that silence findings: what they speak of, and what is none."""

from pathlib import Path

import pytest

from bevdiag.config import load_config, read_document
from bevdiag.config.ignores import MAX_COMMENTS, IgnoreComment, ignore_comments
from bevdiag.errors import ConfigError


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
