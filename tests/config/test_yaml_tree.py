import math
from pathlib import Path

import pytest
import yaml

from bevdiag.config import tree
from bevdiag.config.document import NoteCode
from bevdiag.config.yaml_tree import (
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_NODES,
    NotPlainError,
    TreeBuilder,
    exponent_number,
    scalar_value,
    with_dot,
)
from bevdiag.errors import ConfigError, Location

FILE = Path("c.yaml")


def build(text: str) -> TreeBuilder:
    builder = TreeBuilder(text, FILE, ("DATA",))
    builder.root = builder.document()  # type: ignore[attr-defined]
    return builder


def error(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        build(text)
    return str(raised.value)


def test_every_value_knows_its_line_and_column(parse):
    root = parse("A:\n  b: 12\n  c: [1, xyz]\n")
    assert tree.find(root, ("A", "b")).location == Location(FILE, 2, 6)
    assert tree.find(root, ("A", "c", "1")).location == Location(FILE, 3, 10)
    assert tree.find(root, ("A",)).location == Location(FILE, 2, 3)


@pytest.mark.parametrize("text", ["", "# a comment", "---\n", "\n\n"])
def test_a_text_without_a_value_has_no_root(text):
    assert build(text).root is None


def test_a_key_that_stands_twice_is_noted_and_the_last_one_counts():
    builder = build("A: 1\nB: {c: 2}\nA: 3\n")
    assert tree.plain(builder.root) == {"A": 3, "B": {"c": 2}}
    (note,) = builder.notes
    assert (note.code, note.key, note.location.line) == (NoteCode.DUPLICATE_KEY, "DATA.A", 3)


def test_an_exponent_without_a_dot_becomes_a_number_and_is_noted():
    builder = build("LR: 1e-3\n")
    assert tree.plain(builder.root) == {"LR": 0.001}
    (note,) = builder.notes
    assert note.code is NoteCode.NUMBER_AS_TEXT
    assert note.message.startswith("1e-3 is text to OpenPCDet's YAML reader: write 0.001,")
    assert (note.key, note.location) == ("DATA.LR", Location(FILE, 1, 5))


def test_aliases_and_merge_keys_work_as_in_pyyaml(parse):
    text = """
base: &base {a: 1, b: 2}
other: &other {b: 20, c: 30}
one: {<<: *base, b: 3}
two: {<<: [*base, *other], d: 4}
same: *base
"""
    values = tree.plain(parse(text))
    assert values["one"] == {"a": 1, "b": 3}
    assert values["two"] == {"a": 1, "b": 2, "c": 30, "d": 4}
    assert values["same"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: [1, 2\nB: 3\n", "c.yaml:2:2: DATA.A: not valid YAML: while parsing a flow sequence"),
        ("A: b: c\n", "c.yaml:1:5: DATA: not valid YAML: mapping values are not allowed here"),
        ("A: 1\n\tB: 2\n", "not valid YAML: while scanning for the next token"),
        ("A: 1\nB: \x00\n", "c.yaml:2:4: DATA: the character U+0000 is not allowed in YAML"),
        ("A: *no\n", "c.yaml:1:4: DATA.A: the alias *no is not defined above"),
        ("A: &a [*a]\n", "c.yaml:1:8: DATA.A.0: the alias *a refers to itself"),
        ("A: &a 1\nB: &a 2\n", "c.yaml:2:4: DATA.B: the anchor &a stands above already"),
        ("A: {<<: 3}\n", "<< takes a mapping or a list of mappings"),
        ("[a, b]: 1\n", "c.yaml:1:1: DATA: a key must be one word, not a list or mapping"),
        ("A: !!set {x}\n", "c.yaml:1:4: DATA.A: the tag !!set is not allowed"),
        ("A: !!python/tuple [1]\n", "the tag !!python/tuple is not allowed"),
        ("A: !!python/object/apply:os.system ['true']\n", "is not allowed: a config holds plain"),
        ("A: 1\n---\nB: 2\n", "c.yaml:2:1: DATA: a second document: a config is one"),
        (f"A: {'9' * 80}\n", "is too large"),
    ],
)
def test_what_is_refused_and_where(text, message):
    assert message in error(text)


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ("{a: ", "}")])
def test_depth_is_bounded(open_, close):
    deepest = MAX_DEPTH - 1
    build("A: " + open_ * deepest + "1" + close * deepest)
    message = f"nested deeper than {MAX_DEPTH} levels"
    assert message in error("A: " + open_ * (deepest + 1) + "1" + close * (deepest + 1))
    assert message in error("A: " + open_ * 20_000)


def test_depth_is_bounded_through_aliases():
    steps = [f"k{i}: &k{i} [[[[*k{i - 1}]]]]" for i in range(1, 40)]
    assert "nested deeper" in error("\n".join(["k0: &k0 1", *steps]))


def test_the_number_of_aliases_is_bounded():
    text = "a: &a 1\nb: [" + ", ".join(["*a"] * (MAX_ALIASES + 1)) + "]"
    assert f"more than {MAX_ALIASES} aliases" in error(text)


def test_aliases_that_multiply_are_counted_by_what_they_bring_in():
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    laughs += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 7)]
    assert f"more than {MAX_NODES} values" in error("\n".join(laughs))


def test_the_number_of_values_is_bounded():
    assert f"more than {MAX_NODES} values" in error("A: [" + "0," * (MAX_NODES + 1) + "]")


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


def test_of_several_merge_keys_the_last_one_wins_as_in_pyyaml(parse):
    text = "x: &x {a: 1, b: 1}\ny: &y {a: 2}\nz:\n  <<: *x\n  <<: *y\n  c: 3\n"
    assert tree.plain(parse(text)) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("key", "found"), [("1", "1"), ("yes", "true"), ("~", "nothing (null)"), ("0x1F", "31")]
)
def test_a_key_that_is_no_text_is_refused_as_easydict_refuses_it(key, found):
    assert f"the key {key} is {found} to OpenPCDet's YAML reader: quote it" in error(f"{key}: 1\n")
    build(f"'{key}': 1\n1e-3: 1\n")
