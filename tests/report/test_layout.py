from io import StringIO

import pytest

from bevdiag.report.layout import PIPED_WIDTH, Layout, layout_of


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
