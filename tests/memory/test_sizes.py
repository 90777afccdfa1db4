"""Sizes that people write."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bevdiag.errors import InputError
from bevdiag.memory.sizes import apart, parse_bytes


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("22GiB", 22 * 2**30),
        ("22 GB", 22 * 10**9),
        ("22g", 22 * 10**9),
        ("24000MiB", 24000 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("0.1kB", 100),
        ("512B", 512),
        (" 2 tib ", 2**41),
        (1073741824, 2**30),
    ],
)
def test_a_size_is_read(text, nbytes):
    assert parse_bytes(text) == nbytes


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1GiB", "0", "0.1", "1e9", "22 GiBs", "1.2.3", "\u0663GiB", "9" * 5000]
)
def test_nonsense_is_refused_with_an_example(text):
    with pytest.raises(InputError, match="size"):
        parse_bytes(text)


def test_sizes_that_differ_read_apart():
    assert apart(2 * 2**30, 3 * 2**30) == ["2.00 GiB", "3.00 GiB"]
    assert apart(16 * 2**30 - 2**20, 16 * 2**30) == ["15.999 GiB", "16.000 GiB"]
    assert len(set(apart(2**35, 2**35 + 1))) == 2
    assert apart(2**35, 2**35) == ["32.00 GiB", "32.00 GiB"]


def test_a_boolean_is_no_size():
    with pytest.raises(InputError):
        parse_bytes(True)


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_refused(text):
    with suppress(InputError):
        assert parse_bytes(text) > 0
