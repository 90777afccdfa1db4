from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from bevdiag.memory.verdict import Verdict
from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import Layout
from bevdiag.report.text import short_report
from bevdiag.report.text.prose import rendered
from bevdiag.report.text.remedies import write_remedies
from bevdiag.report.text.short_report import write_short
from bevdiag.rules.finding import Severity

COMMANDS = {
    "inspect": "bevdiag inspect configs/focalsst_dsvt.yaml --gpu A100-80GB",
    "fix": "bevdiag fix configs/focalsst_dsvt.yaml --gpu A100-80GB",
}
_HOSTILE = "conv[/][bold]\x1b[2J\u202e" + "x" * 150


@pytest.mark.parametrize("width", [80, 100, 200])
def test_golden(over: Prediction, golden: Callable[[str, str], None], width: int) -> None:
    text = rendered(Layout(width), write_short, over, commands=COMMANDS)
    assert len(text.splitlines()) <= 50
    assert all(cell_len(line) <= width for line in text.splitlines())
    golden(f"short_{width}.txt", text)


def test_the_verdict_the_worst_finding_the_plan_and_the_next_command_are_on_it(
    over: Prediction,
) -> None:
    text = rendered(Layout(100), write_short, over, commands=COMMANDS)
    assert text.splitlines()[1].startswith("Does not fit")
    assert text.rstrip().rpartition("\n\n")[2].startswith("Does not fit")
    assert "BEV203" in text
    assert over.recommended is None or over.recommended.id in text
    assert f"bevdiag inspect {over.config} --gpu {over.target.gpu} --full" in text


def test_what_fits_is_shorter_and_has_no_picture(over: Prediction) -> None:
    fits = replace(over, verdict=Verdict.FITS, oom=None, findings=(), remedies=(), recommended=None)
    text = rendered(Layout(100), write_short, fits, commands=COMMANDS)
    assert len(text.splitlines()) < 20
    assert "\u2588" not in text
    assert "bevdiag fix" not in text


def test_without_a_budget_it_says_how_to_name_one(measured: Prediction) -> None:
    commands = COMMANDS | {"inspect": "bevdiag inspect a.yaml"}
    text = rendered(Layout(), write_short, measured, commands=commands)
    assert "bevdiag inspect a.yaml --gpu NAME" in text


def test_the_chart_goes_before_the_worst_finding_does(
    over: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    worst = replace(over.findings[0], severity=Severity.ERROR, message="a sentence")
    report = replace(over, findings=(worst, *over.findings))
    assert "over the step" in rendered(Layout(80), write_short, report, commands=COMMANDS)
    monkeypatch.setattr(short_report, "_LINES", 34)
    text = rendered(Layout(80), write_short, report, commands=COMMANDS)
    assert f"error {worst.code}: a sentence" in text
    assert "over the step" not in text


@pytest.mark.parametrize("count", [1, 5, 40])
def test_findings_give_way_to_the_limit(over: Prediction, count: int) -> None:
    worst = replace(over.findings[0], severity=Severity.ERROR, message="a very long sentence " * 30)
    text = rendered(
        Layout(80), write_short, replace(over, findings=(worst,) * count), commands=COMMANDS
    )
    assert len(text.splitlines()) <= 50
    assert count == 1 or " more: --full shows them" in text


def test_hostile_names_are_obeyed_nowhere(over: Prediction) -> None:
    hostile = replace(
        over,
        config=_HOSTILE,
        model=_HOSTILE,
        peak=replace(over.peak, module=_HOSTILE),
        assumptions=tuple(replace(item, site=_HOSTILE) for item in over.assumptions),
        findings=tuple(
            replace(item, message=_HOSTILE, code="X\x1b", module=_HOSTILE, key=_HOSTILE)
            for item in over.findings
        ),
    )
    text = rendered(Layout(80), write_short, hostile, commands=COMMANDS)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert rendered(Layout(80, unicode=False), write_short, over, commands=COMMANDS).isascii()


def test_the_next_commands_are_those_of_the_users_own_options(over: Prediction) -> None:
    commands = {"inspect": "bevdiag inspect --entry a.py:f", "fix": "bevdiag fix a --cudnn 9.1"}
    text = rendered(Layout(100), write_short, over, commands=commands)
    assert "$ bevdiag inspect --entry a.py:f --full" in text
    assert "$ bevdiag fix a --cudnn 9.1  #" in text
    assert over.config not in text[text.index("Next ") :]


def test_a_config_that_is_code_is_not_given_to_fix(over: Prediction) -> None:
    assert "$ bevdiag fix configs/" in rendered(Layout(100), write_short, over, commands=COMMANDS)
    code = replace(over, config="a.py")
    assert "bevdiag fix" not in rendered(Layout(100), write_short, code, commands=COMMANDS)
    assert "bevdiag fix writes" not in rendered(Layout(100), write_remedies, code)
    assert "bevdiag fix writes" in " ".join(rendered(Layout(100), write_remedies, over).split())


def test_what_benchmark_mode_adds_is_said(over: Prediction) -> None:
    tried = replace(over, target=replace(over.target, cudnn_benchmark=True))
    assert "benchmark mode: the first step also tries algorithms" in rendered(
        Layout(100), write_short, tried, commands=COMMANDS
    )


def test_a_holder_of_a_long_name_is_folded_whole(over: Prediction) -> None:
    name = ".".join(["encoder"] * 20)
    holders = (replace(over.peak.holders[0], module=name),)
    long = replace(over, peak=replace(over.peak, module="", holders=holders))
    text = rendered(Layout(80), write_short, long, commands=COMMANDS)
    assert all(cell_len(line) <= 80 for line in text.splitlines())
    assert name in "".join(text.split())
