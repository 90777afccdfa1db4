from pathlib import Path

import pytest

from bevdiag.config import tree
from bevdiag.config.tree import Listing, Scalar
from bevdiag.errors import Location

HERE = Location(Path("x.yaml"), 7, 9)
TEXT = """
A: {b: 1, c: [2, [3]]}
STEPS:
  - {NAME: first, SIZE: 10}
  - {NAME: second, SIZE: 20}
"""


def test_entries_of_a_list_are_named_by_index_or_by_name(parse):
    root = parse(TEXT)
    by_index = tree.find(root, ("STEPS", "1", "SIZE"))
    by_name = tree.find(root, ("STEPS", "second", "SIZE"))
    assert by_index is by_name
    assert tree.plain(by_name) == 20


@pytest.mark.parametrize("key", ["2", "-1", "third", "", "1" * 5000])
def test_entries_that_a_list_lacks(parse, key):
    assert tree.find(parse(TEXT), ("STEPS", key)) is None


def test_plain_values_have_tuples_for_lists(parse):
    assert tree.plain(parse("A: {b: 1, c: [2, [3]]}")) == {"A": {"b": 1, "c": (2, (3,))}}


def test_the_deepest_node_on_the_way(parse):
    node, rest = tree.descend(parse(TEXT), ("A", "b", "x", "y"))
    assert isinstance(node, Scalar)
    assert rest == ("x", "y")


def test_a_new_tree_leaves_the_old_one_alone(parse):
    root = parse(TEXT)
    changed = tree.with_node(root, ("STEPS", "first", "SIZE"), Scalar(99, HERE))
    assert tree.plain(tree.find(root, ("STEPS", "0", "SIZE"))) == 10
    assert tree.plain(tree.find(changed, ("STEPS", "0", "SIZE"))) == 99
    assert tree.find(changed, ("STEPS", "1")) is tree.find(root, ("STEPS", "1"))


def test_missing_sections_are_made_on_the_way(parse):
    changed = tree.with_node(parse(TEXT), ("NEW", "deep", "key"), Scalar(1, HERE))
    assert tree.plain(tree.find(changed, ("NEW",))) == {"deep": {"key": 1}}


@pytest.mark.parametrize("path", [("A", "b", "x"), ("STEPS", "third", "SIZE"), ("A", "c", "9")])
def test_a_way_through_a_value_or_beyond_a_list_is_refused(parse, path):
    with pytest.raises(KeyError):
        tree.with_node(parse(TEXT), path, Scalar(1, HERE))


def test_removal_from_sections_and_lists(parse):
    root = parse(TEXT)
    assert tree.plain(tree.without(root, ("A", "b")))["A"] == {"c": (2, (3,))}
    assert tree.plain(tree.without(root, ("STEPS", "first")))["STEPS"] == (
        {"NAME": "second", "SIZE": 20},
    )
    assert tree.without(root, ("A", "nothing")) is root


def test_located_is_the_opposite_of_plain():
    value = {"a": (1, 2.5, None, True), "b": {"c": "text"}}
    node = tree.located(value, HERE)
    assert tree.plain(node) == value
    assert node.location == HERE


def test_values_that_yaml_has_no_form_for_are_refused():
    with pytest.raises(TypeError, match="cannot hold a set"):
        tree.located({"a": {1, 2}}, HERE)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (Scalar("abc", HERE), "the text 'abc'"),
        (Scalar("x" * 100, HERE), f"the text '{'x' * 57}...'"),
        (Scalar(None, HERE), "nothing (null)"),
        (Scalar(True, HERE), "true"),
        (Scalar(2.5, HERE), "2.5"),
        (Listing((), HERE), "a list of 0"),
    ],
)
def test_what_was_found(node, words):
    assert tree.describe(node) == words
