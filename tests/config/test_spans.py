from bevdiag.config.spans import Spot, read_spans

TEXT = """\
A:
  - NAME: first
    N: [1, 2]  # a comment
  - &two {NAME: second}
B: *two
C: |
  folded
"""


def _text(spot: Spot | None) -> str:
    assert spot is not None
    return TEXT[spot.start : spot.end]


def test_a_part_is_found_by_key_index_or_name() -> None:
    root = read_spans(TEXT)
    listed = root.child("A")
    assert listed is not None
    assert listed.child("0") is listed.child("first")
    assert _text(listed.child("second")) == "&two {NAME: second}"
    assert listed.child("2") is None
    assert root.child("D") is None


def test_a_value_ends_before_what_follows_it() -> None:
    listed = read_spans(TEXT).child("A")
    assert listed is not None
    first = listed.child("first")
    assert first is not None
    assert _text(first.child("N")) == "[1, 2]"
    assert _text(first) == "NAME: first\n    N: [1, 2]"
    assert _text(listed).endswith("{NAME: second}")


def test_what_stands_for_other_places_and_how_it_is_written() -> None:
    root = read_spans(TEXT)
    alias, block = root.child("B"), root.child("C")
    assert alias is not None
    assert alias.is_shared
    assert block is not None
    assert (block.value, block.is_flow) == ("folded\n", False)
    entry = root.entries["B"]
    assert (TEXT[entry.start : entry.end], entry.column) == ("B", 0)
