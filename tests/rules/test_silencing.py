"""Comments that silence findings, and comments that are no good."""

from dataclasses import replace
from pathlib import Path

from bevdiag.config import IgnoreComment
from bevdiag.errors import Location
from bevdiag.rules.checks import silence
from bevdiag.rules.codes import RuleStage, finding

FILE = Path("c.yaml")
ALL = tuple(RuleStage)


def _comment(*codes: str, reason: str = "because", line: int = 4) -> IgnoreComment:
    return IgnoreComment(codes, reason, line, Location(FILE, line, 20))


def _found(code: str = "BEV305", line: int = 4, file: Path = FILE):
    return finding(code, "odd", location=Location(file, line, 3))


def test_a_finding_on_the_line_is_silenced_with_the_reason() -> None:
    stay, silenced = silence([_found()], [_comment("BEV305")], ALL)
    assert stay == ()
    (silent,) = silenced
    assert silent.silenced is not None
    assert silent.silenced.reason == "because"
    assert replace(silent, silenced=None) == _found()
    assert silent.silenced.location == Location(FILE, 4, 20)


def test_other_lines_files_and_codes_are_not() -> None:
    findings = [
        _found(line=5),
        _found(file=Path("base.yaml")),
        _found("BEV306"),
        finding("BEV301", "x"),
    ]
    stay, silenced = silence(findings, [_comment("BEV305")], ALL)
    assert silenced == ()
    assert list(stay[:4]) == findings
    (idle,) = stay[4:]
    assert (idle.code, idle.location) == ("BEV007", Location(FILE, 4, 20))
    assert idle.message == "BEV305 is not found on line 4, so nothing is silenced"


def test_one_comment_silences_several() -> None:
    findings = [_found(), _found("BEV306"), _found()]
    stay, silenced = silence(findings, [_comment("BEV305", "BEV306")], ALL)
    assert stay == ()
    assert len(silenced) == 3


def test_without_a_reason_it_silences_and_is_reported() -> None:
    stay, silenced = silence([_found()], [_comment("BEV305", reason="")], ALL)
    assert [item.code for item in stay] == ["BEV006"]
    assert len(silenced) == 1


def test_an_unknown_code_is_reported_with_the_nearest() -> None:
    stay, _ = silence([], [_comment("BEV35")], ALL)
    (idle,) = stay
    assert idle.code == "BEV007"
    assert "no rule BEV35; did you mean 'BEV3" in idle.message


def test_a_comment_that_is_not_understood_is_reported() -> None:
    stay, _ = silence([], [_comment(reason="")], ALL)
    assert [item.code for item in stay] == ["BEV007"]
    assert "expected # bevdiag: ignore[" in stay[0].message


def test_a_code_whose_rules_did_not_run_is_no_idle_one() -> None:
    assert silence([], [_comment("BEV305")], (RuleStage.CONFIG,)) == ((), ())
    assert len(silence([], [_comment("BEV201")], (RuleStage.CONFIG,))[0]) == 1
