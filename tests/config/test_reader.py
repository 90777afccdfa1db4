from pathlib import Path

import pytest

from bevdiag.config import tree
from bevdiag.config.bases import read_merged
from bevdiag.config.builder import MAX_BYTES
from bevdiag.config.reader import read_file, read_value
from bevdiag.errors import ConfigError, Location


def error(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    return str(raised.value)


def test_a_file_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfA: 1\n")
    root, notes, _ = read_file(path)
    assert tree.plain(root) == {"A": 1}
    assert root.entries["A"].location == Location(path, 1, 4)
    assert notes == ()


def test_files_that_are_no_files(tmp_path):
    assert (
        error(tmp_path / "no.yaml") == f"{tmp_path}/no.yaml cannot be read: there is no such file"
    )
    assert error(tmp_path) == f"{tmp_path} cannot be read: this is a folder"
    assert "cannot be read" in error(Path("\0.yaml")) or "no such file" in error(Path("\0.yaml"))


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
    assert message in error(path)


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"#" * MAX_BYTES)
    assert "the file is empty" in error(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert f"larger than {MAX_BYTES} bytes" in error(path)


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
