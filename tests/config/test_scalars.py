import math

import pytest
import yaml

from bevdiag.config.scalars import NotPlainError, exponent_number, scalar_value, with_dot


def event(text: str) -> yaml.ScalarEvent:
    return next(e for e in yaml.parse(text) if isinstance(e, yaml.ScalarEvent))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("abc", "abc"),
        ("12", 12),
        ("0x10", 16),
        ("1_000", 1000),
        ("2.5", 2.5),
        ("1.0e-3", 0.001),
        ("yes", True),
        ("~", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!float 3", 3.0),
        ("2026-01-31", "2026-01-31"),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_plain_values(text, value):
    found = scalar_value(event(text))
    assert found == value
    assert type(found) is type(value)


def test_infinity_and_nan_are_numbers_to_yaml():
    assert scalar_value(event("-.inf")) == -math.inf
    assert math.isnan(scalar_value(event(".nan")))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (str(2**63), "the number 9223372036854775808 is too large"),
        ("9" * 100_000, f"the number {'9' * 57}... is too large"),
        ("0x" + "f" * 100, f"the number 0x{'f' * 55}... is too large"),
        ("!!int abc", "'abc' is no int"),
        ("!!bool maybe", "'maybe' is no bool"),
        ("!!binary aGk=", "the tag !!binary is not allowed"),
        ("!!python/name:os.system ''", "the tag !!python/name:os.system is not allowed"),
        ("!mine abc", "the tag !mine is not allowed"),
    ],
)
def test_what_a_config_may_not_hold(text, why):
    with pytest.raises(NotPlainError) as raised:
        scalar_value(event(text))
    assert str(raised.value).startswith(why)


@pytest.mark.parametrize(("text", "number"), [("1e-3", 1e-3), ("-2E5", -2e5), ("1.5e3", 1500.0)])
def test_numbers_that_yaml_1_1_takes_for_text(text, number):
    assert exponent_number(event(text)) == number
    assert yaml.safe_load(text) == text


@pytest.mark.parametrize("text", ["'1e-3'", "!!str 1e-3", "1.0e-3", "e3", "12", "1e3 m"])
def test_texts_and_ordinary_numbers_stay_what_they_are(text):
    assert exponent_number(event(text)) is None


def test_an_exponent_beyond_floats_is_refused():
    with pytest.raises(NotPlainError, match="1e999 is too large"):
        exponent_number(event("1e999"))


@pytest.mark.parametrize("number", [1e-3, 1e-7, 2.5e22, -3e-9, 1500.0])
def test_a_number_with_a_dot_is_a_number_to_every_reader(number):
    assert yaml.safe_load(with_dot(number)) == number
