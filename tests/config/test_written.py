"""Values as they are written, or None; never an error."""

import pytest

from bevdiag.config import Document, written

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
        (written.whole, "N", 3),
        (written.whole, "F", None),
        (written.whole, "B", None),
        (written.whole, "GONE", None),
        (written.text, "T", "word"),
        (written.text, "N", None),
        (written.triple, "L", (1, 2, 3)),
        (written.triple, "Z", None),
        (written.triple, "M", None),
        (written.triple, "P", None),
    ],
)
def test_only_the_wanted_kind_is_read(document, read, key, value) -> None:
    assert read(document, key) == value


def test_lengths_are_as_many_as_asked_for(document) -> None:
    assert written.lengths(document, "P", 2) == (0.5, 2)
    assert written.lengths(document, "P", 3) is None
    assert written.lengths(document, "M", 3) is None


def test_without_a_voxelizer_or_dsvt_there_is_no_key(document) -> None:
    assert written.voxel_size_key(document) is None
    assert written.dsvt_key(document) is None
