import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import Layout
from bevdiag.report.text.inspect_report import write_inspect
from bevdiag.report.text.prose import rendered

_HOSTILE = "conv[/][bold]\x1b[2J\u202e" + "x" * 150


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_golden(over: Prediction, golden: Callable[[str, str], None], width: int) -> None:
    golden(f"inspect_{width}.txt", rendered(Layout(width), write_inspect, over, depth=3))


def test_golden_ascii(over: Prediction, golden: Callable[[str, str], None]) -> None:
    golden("inspect_ascii.txt", rendered(Layout(80, unicode=False), write_inspect, over, depth=2))


def test_golden_measured(measured: Prediction, golden: Callable[[str, str], None]) -> None:
    golden("inspect_measured.txt", rendered(Layout(), write_inspect, measured, depth=1))


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_too_long_or_ends_in_a_space(
    over: Prediction, width: int, unicode: bool
) -> None:
    text = rendered(Layout(width, unicode=unicode), write_inspect, over, depth=9)
    for line in text.splitlines():
        assert cell_len(line) <= width
        assert line == line.rstrip()
    assert "\u2026" not in text


def test_the_sections_come_in_order(over: Prediction) -> None:
    text = rendered(Layout(), write_inspect, over, depth=3)
    titles = re.findall(r"^(\w.*?) \u2500+$", text, re.MULTILINE)
    assert titles == [
        "Assumed",
        "Layers",
        "Wiring",
        "Memory over the step",
        "Peak",
        "The same step on other GPUs",
        "Findings",
        "Remedies",
    ]
    assert "75.10 GiB" in text
    assert "22400" in text


def test_ascii_output_is_ascii(over: Prediction) -> None:
    named = replace(over, config="\u58f0\u7eb3.yaml")
    assert rendered(Layout(80, unicode=False), write_inspect, named, depth=3).isascii()


def test_the_environment_has_no_say(over: Prediction, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rendered(Layout(), write_inspect, over, depth=3)
    for name, value in (("COLUMNS", "40"), ("FORCE_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    assert rendered(Layout(), write_inspect, over, depth=3) == before


def test_colour_changes_no_character(over: Prediction) -> None:
    plain = rendered(Layout(), write_inspect, over, depth=3)
    coloured = rendered(Layout(colour=True), write_inspect, over, depth=3)
    assert "\x1b[" in coloured
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize("width", [80, 200])
def test_hostile_names_are_shown_whole_and_obeyed_nowhere(over: Prediction, width: int) -> None:
    hostile = replace(
        over,
        config=_HOSTILE,
        model=_HOSTILE,
        scene=replace(over.scene, source=_HOSTILE),
        peak=replace(
            over.peak,
            module=_HOSTILE,
            holders=tuple(replace(item, module=_HOSTILE) for item in over.peak.holders),
        ),
        layers=tuple(replace(item, name=_HOSTILE, type=_HOSTILE) for item in over.layers),
        assumptions=tuple(replace(item, site=_HOSTILE) for item in over.assumptions),
        findings=tuple(replace(item, message=_HOSTILE, code="X\x1b") for item in over.findings),
        remedies=tuple(
            replace(
                item, changes=tuple(replace(c, id=_HOSTILE, title=_HOSTILE) for c in item.changes)
            )
            for item in over.remedies
        ),
        oom=replace(over.oom, module=_HOSTILE, message=_HOSTILE) if over.oom else None,
        unmodelled=(_HOSTILE,),
    )
    text = rendered(Layout(width), write_inspect, hostile, depth=3)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "conv[/][bold][2J" in text
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert text.count("x") >= 150 * 10
