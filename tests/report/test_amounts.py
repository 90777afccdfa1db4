import pytest

from bevdiag.report.amounts import (
    format_apart,
    format_bytes,
    format_count,
    format_difference,
    format_error,
    format_shape,
    format_share,
)

GIB = 2**30


def test_amounts_that_differ_read_apart() -> None:
    assert format_apart(5 * GIB, 5 * GIB + 2**20) == ["5.000 GiB", "5.001 GiB"]
    assert format_apart(900, 2**20) == ["900 B", "1.0 MiB"]


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (2**20, "1.0 MiB"),
        (8812 * 2**20, "8.61 GiB"),
        (GIB - 1, "1.00 GiB"),
        (22400 * 9 * 100_000 * 4, "75.10 GiB"),
        (1500 * GIB, "1,500.00 GiB"),
        (-3 * 2**20, "-3.0 MiB"),
    ],
)
def test_bytes_are_reported_in_binary_units(nbytes: int, text: str) -> None:
    assert format_bytes(nbytes) == text


@pytest.mark.parametrize(("nbytes", "text"), [(GIB, "+1.00 GiB"), (-GIB, "-1.00 GiB"), (0, "0 B")])
def test_a_difference_carries_its_sign(nbytes: int, text: str) -> None:
    assert format_difference(nbytes) == text


def test_counts_have_thousands_separators() -> None:
    assert format_count(25_804_800) == "25,804,800"


def test_a_share_of_nothing_is_empty() -> None:
    assert format_share(1, 8) == "12.5 %"
    assert format_share(1, 0) == ""


@pytest.mark.parametrize(
    ("shape", "text"), [((1, 22400, 202, 502), "1x22400x202x502"), ((), "scalar"), (None, "-")]
)
def test_shapes(shape: tuple[int, ...] | None, text: str) -> None:
    assert format_shape(shape) == text


def test_the_error_is_relative_to_what_was_measured() -> None:
    assert format_error(predicted=95, measured=100) == "-5.0 %"
    assert format_error(predicted=95, measured=0) == "-"


def test_a_number_that_is_missing_is_a_dash() -> None:
    assert format_bytes(None) == format_count(None) == format_difference(None) == "-"
    assert (format_bytes(0), format_count(0), format_difference(0)) == ("0 B", "0", "0 B")


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    assert format_error(999_999, 1_000_000) == format_error(1_000_001, 1_000_000) == "+0.0 %"
