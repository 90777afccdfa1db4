from pathlib import Path

import pytest

from bevdiag.config import tree
from bevdiag.config.bases import MAX_FILES, read_file, read_merged, read_value
from bevdiag.config.yaml_tree import MAX_BYTES, MAX_NODES
from bevdiag.errors import ConfigError, Location


def merged(path):
    return tree.plain(read_merged(path).root)


def error(path) -> str:
    with pytest.raises(ConfigError) as raised:
        read_merged(path)
    return str(raised.value)


def test_mappings_merge_and_everything_else_is_replaced(write):
    write("base.yaml", "A: {b: 1, c: {d: 2, e: 3}}\nL: [1, 2, 3]\nS: {x: 1}\nT: 1\n")
    path = write(
        "c.yaml", "_BASE_CONFIG_: base.yaml\nA: {c: {d: 20}}\nL: [9]\nS: none\nT: {y: 2}\n"
    )
    assert merged(path) == {
        "A": {"b": 1, "c": {"d": 20, "e": 3}},
        "L": (9,),
        "S": "none",
        "T": {"y": 2},
    }


def test_a_base_comes_first_wherever_its_key_stands(write):
    write("base.yaml", "X: 1\nY: 1\n")
    path = write("c.yaml", "D:\n  X: 2\n  _BASE_CONFIG_: base.yaml\n")
    assert merged(path) == {"D": {"X": 2, "Y": 1}}


def test_bases_at_several_levels_and_bases_of_bases(write):
    write("grand.yaml", "P: {q: 1, r: 1}\n")
    write("base.yaml", "_BASE_CONFIG_: grand.yaml\nP: {r: 2}\n")
    write("data.yaml", "SIZE: 5\n")
    path = write("c.yaml", "_BASE_CONFIG_: base.yaml\nDATA: {_BASE_CONFIG_: data.yaml}\n")
    assert merged(path) == {"P": {"q": 1, "r": 2}, "DATA": {"SIZE": 5}}


def test_an_inner_base_replaces_what_an_outer_one_said_of_the_same_key(write):
    # OpenPCDet updates the level with the base's keys before it merges the level's own.
    write("outer.yaml", "D: {A: {x: 1, y: 1}, Z: 1}\n")
    write("inner.yaml", "A: {x: 2}\n")
    path = write("c.yaml", "_BASE_CONFIG_: outer.yaml\nD: {_BASE_CONFIG_: inner.yaml, A: {w: 3}}\n")
    assert merged(path) == {"D": {"A": {"x": 2, "w": 3}, "Z": 1}}


def test_the_nearest_folder_above_wins(write):
    write("cfgs/data/d.yaml", "X: far\n")
    path = write("cfgs/models/c.yaml", "_BASE_CONFIG_: cfgs/data/d.yaml\n")
    assert merged(path) == {"X": "far"}
    write("cfgs/models/cfgs/data/d.yaml", "X: near\n")
    assert merged(path) == {"X": "near"}


def test_values_and_notes_of_a_base_keep_its_locations(write):
    base = write("base.yaml", "LR: 1e-3\n")
    document = read_merged(write("c.yaml", "OPT: {_BASE_CONFIG_: base.yaml}\n"))
    root, notes = document.root, document.notes
    assert tree.find(root, ("OPT", "LR")).location.file == base
    assert [(note.key, note.location.file) for note in notes] == [("OPT.LR", base)]


def test_a_circle_is_refused(write):
    write("b.yaml", "_BASE_CONFIG_: c.yaml\n")
    path = write("c.yaml", "X: 1\n_BASE_CONFIG_: b.yaml\n")
    assert error(path).endswith(
        "b.yaml:1:16: _BASE_CONFIG_: 'c.yaml' builds on itself: bases may not go in a circle"
    )
    itself = write("self.yaml", "_BASE_CONFIG_: self.yaml\n")
    assert "'self.yaml' builds on itself" in error(itself)


def test_bases_that_multiply_are_refused(write):
    write("leaf.yaml", "X: 1\n")
    for level in range(4):
        below = "leaf.yaml" if level == 0 else f"b{level - 1}.yaml"
        write(f"b{level}.yaml", "".join(f"K{i}: {{_BASE_CONFIG_: {below}}}\n" for i in range(9)))
    assert f"more than {MAX_FILES} base files in all" in error(
        write("c.yaml", "_BASE_CONFIG_: b3.yaml")
    )


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("no.yaml", "D._BASE_CONFIG_: 'no.yaml': no such file in "),
        ("[a]", "D._BASE_CONFIG_: expected the path of a YAML file, found a list of 1"),
        ("", "D._BASE_CONFIG_: expected the path of a YAML file, found nothing (null)"),
        (".", "D._BASE_CONFIG_: '.': no such file in "),
        ('"a\\0b"', "no such file in "),
    ],
)
def test_bases_that_cannot_be_read(write, base, message):
    path = write("c.yaml", f"D:\n  _BASE_CONFIG_: {base}\n")
    assert f"c.yaml:2:{'18' if base else ''}" in error(path)
    assert message in error(path)


def test_an_error_in_a_base_names_the_base_and_the_whole_key(write):
    write("base.yaml", "A: [1, 2\n")
    path = write("c.yaml", "D: {_BASE_CONFIG_: base.yaml}\n")
    assert "base.yaml:2:1: D.A: not valid YAML" in error(path)


def test_a_base_outside_the_repository_is_refused(write):
    write("secret.yaml", "TOKEN: 1\n")
    (write("repo/.git/HEAD", "").parent.parent / "link.yaml").symlink_to("../secret.yaml")
    for name in ("../secret.yaml", "link.yaml", "secret.yaml", "/etc/hostname"):
        path = write("repo/c.yaml", f"_BASE_CONFIG_: {name}\n")
        assert f"c.yaml:1:16: _BASE_CONFIG_: {name!r} lies outside " in error(path)


def test_a_base_in_another_folder_of_the_repository_is_read(write):
    write("repo/.git", "gitdir: elsewhere\n")
    write("repo/data/d.yaml", "X: 1\n")
    assert merged(write("repo/models/c.yaml", "_BASE_CONFIG_: ../data/d.yaml\n")) == {"X": 1}


def test_the_files_of_a_config_share_what_it_may_hold(write):
    write("wide.yaml", "A: [" + "0, " * (MAX_NODES // 3) + "]\n")
    keys = "".join(f"K{i}: {{_BASE_CONFIG_: wide.yaml}}\n" for i in range(3))
    assert f"more than {MAX_NODES} values" in error(write("c.yaml", keys))
    write("long.yaml", "#" * (MAX_BYTES // 2) + "\nA: 1\n")
    keys = "".join(f"K{i}: {{_BASE_CONFIG_: long.yaml}}\n" for i in range(2))
    assert f"larger than {MAX_BYTES} bytes, bases included" in error(write("c.yaml", keys))


def error_of(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    return str(raised.value)


def test_a_file_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfA: 1\n")
    document = read_file(path)
    root, notes = document.root, document.notes
    assert tree.plain(root) == {"A": 1}
    assert root.entries["A"].location == Location(path, 1, 4)
    assert notes == ()


def test_files_that_are_no_files(tmp_path):
    assert (
        error_of(tmp_path / "no.yaml")
        == f"{tmp_path}/no.yaml cannot be read: there is no such file"
    )
    assert error_of(tmp_path) == f"{tmp_path} cannot be read: this is a folder"
    assert "cannot be read" in error_of(Path("\0.yaml")) or "no such file" in error_of(
        Path("\0.yaml")
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "c.yaml:1:1: the file is empty"),
        (b"# nothing\n", "c.yaml:1:1: the file is empty"),
        (b"- 1\n- 2\n", "c.yaml:1:1: expected a mapping of keys to values, found a list of 2"),
        (b"hello\n", "expected a mapping of keys to values, found the text 'hello'"),
        (b"A: 1\nB: \xff\n", "c.yaml:2:4: not UTF-8 text: save the file as UTF-8"),
        (b"A\x00\x00\x00", "the character U+0000 is not allowed"),
    ],
)
def test_files_that_are_no_configs(tmp_path, data, message):
    path = tmp_path / "c.yaml"
    path.write_bytes(data)
    assert message in error_of(path)


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"#" * MAX_BYTES)
    assert "the file is empty" in error_of(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert f"larger than {MAX_BYTES} bytes" in error_of(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("1e-3", 0.001),
        ("[1, 2]", (1, 2)),
        ("{a: 1}", {"a": 1}),
        ("", None),
        ("some text", "some text"),
    ],
)
def test_values_of_an_option(text, value):
    assert tree.plain(read_value(text, Location(Path("--set"), 1, 5))) == value


def test_a_value_of_an_option_knows_its_column():
    node = read_value("[1, 2]", Location(Path("--set"), 3, 5))
    assert tree.child(node, "1").location == Location(Path("--set"), 3, 9)


@pytest.mark.parametrize("name", ["loop.yaml", "a\0b.yaml", "n" * 5000])
def test_a_path_that_leads_nowhere_is_refused(tmp_path, name):
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(ConfigError, match=r"there is no such file|cannot be read"):
        read_merged(tmp_path / name)
