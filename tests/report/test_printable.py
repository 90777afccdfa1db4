import os
import subprocess
from io import StringIO

import pytest
from rich.cells import cell_len

from bevdiag.report.printable import PIPED_WIDTH, Layout, command_line, fold, layout_of, printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("conv\x1b[31m", "conv[31m"),
        ("conv\x9b2J", "conv2J"),
        ("a\u202eb\u200bc", "abc"),
        ("a\nb\tc\u2028d", "a b c d"),
        ("a\ud800b", "ab"),
        ("[bold]x[/]", "[bold]x[/]"),
        ("\u5377\u79ef", "\u5377\u79ef"),
    ],
)
def test_nothing_that_a_terminal_obeys_passes(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


@pytest.mark.parametrize(
    "name",
    ["plain.yaml", "two words.yaml", "two\nlines.yaml", "it's\t\\x.yaml", "\u6d4b\u202e", "\udcff"],
)
def test_a_shell_reads_a_command_as_it_was(name: str) -> None:
    command = f"printf %s {command_line([name])}"
    assert command.isprintable()
    done = subprocess.run(["bash", "-c", command], capture_output=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout == os.fsencode(name)


def test_words_wrap_at_spaces() -> None:
    assert fold("the step stops in backbone_2d", 12) == ["the step", "stops in", "backbone_2d"]


def test_a_unit_stays_with_its_number() -> None:
    assert fold("asking for 75.10 GiB now", 16) == ["asking for", "75.10 GiB now"]


def test_text_that_fits_keeps_its_spaces() -> None:
    assert fold("a    b", 6) == ["a    b"]


def test_a_long_name_folds_after_a_dot_and_loses_nothing() -> None:
    name = "backbone_3d.dsvt.stage_0.0.encoder_list.0.win_attn.self_attn"
    parts = fold(name, 30)
    assert "".join(parts) == name
    assert all(part.endswith(".") for part in parts[:-1])


def test_a_name_without_dots_folds_anywhere() -> None:
    assert fold("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


def test_the_rest_of_a_folded_word_is_not_joined_by_a_space() -> None:
    assert fold("go aaaaa.bbbbbb ccc", 10) == ["go", "aaaaa.", "bbbbbb ccc"]


def test_wide_characters_count_two_cells() -> None:
    text = "\u5377\u79ef\u795e\u7ecf\u7f51\u7edc"
    assert fold(text, 5) == [text[:2], text[2:4], text[4:]]
    assert all(cell_len(part) <= 5 for part in fold(text, 5))


def test_a_width_of_one_ends() -> None:
    assert fold("\u5377\u79ef", 1) == ["\u5377", "\u79ef"]


def test_empty_text_is_one_empty_line() -> None:
    assert fold("", 10) == [""]


class Stream(StringIO):
    def __init__(self, *, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self.terminal = terminal
        self.named_encoding = encoding

    def isatty(self) -> bool:
        return self.terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.named_encoding


def test_a_pipe_has_a_fixed_width_and_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert layout_of(Stream(terminal=False), {}) == Layout(PIPED_WIDTH, colour=False, unicode=True)


def test_a_terminal_has_its_own_width_and_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "132")
    assert layout_of(Stream(terminal=True), {}) == Layout(132, colour=True, unicode=True)


def test_a_tiny_terminal_is_not_followed_all_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert layout_of(Stream(terminal=True), {}).width == 80


@pytest.mark.parametrize(
    ("terminal", "environ", "colour"),
    [
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_the_environment_decides_on_colour(
    terminal: bool, environ: dict[str, str], colour: bool
) -> None:
    assert layout_of(Stream(terminal=terminal), environ).colour is colour


@pytest.mark.parametrize(("encoding", "unicode"), [("UTF-8", True), ("ascii", False)])
def test_the_encoding_decides_on_characters(encoding: str, unicode: bool) -> None:
    assert layout_of(Stream(terminal=False, encoding=encoding), {}).unicode is unicode
