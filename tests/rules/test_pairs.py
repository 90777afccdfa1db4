"""Every rule on a config that has its fault, and on the same config without it."""

import shlex
import shutil
from pathlib import Path

import pytest

from bevdiag.cli.main import run
from bevdiag.rules.codes import CODES, RuleStage

from .conftest import FOLDER, Pair, expected, found, places

NOT_FROM_A_CONFIG = ("BEV604", "BEV901")
WITHOUT_AN_EXAMPLE = {
    "BEV604": "no module that is built in computes anything in vain",
    "BEV901": "only code of one's own reads a number that nothing rehearses",
    "BEV902": "what it looks at is a whole repository",
}


def test_a_fault_is_found_at_the_key_to_blame(pair: Pair) -> None:
    findings = found(pair.bad, pair.code)
    assert places(findings) == (expected(pair.bad) or [(pair.code, 0, 0)])
    assert {finding.code for finding in findings} == {pair.code}
    assert all(f.location is None or f.location.file == pair.bad for f in findings)


def test_the_fixed_twin_has_no_finding(pair: Pair) -> None:
    assert found(pair.fixed, pair.code) == ()


@pytest.mark.parametrize("code", CODES)
def test_every_rule_has_a_pair(code: str) -> None:
    if CODES[code].stage in (RuleStage.SOURCE, RuleStage.ENVIRONMENT, RuleStage.BASELINE):
        pytest.skip("what it looks at is no config")
    if code in NOT_FROM_A_CONFIG:
        pytest.skip("no module that is built in shows it; tests/rules/test_rules.py does")
    bad = list((FOLDER / code).glob("bad*.*"))
    assert bad
    for path in bad:
        assert path.with_name(path.name.replace("bad", "fixed", 1)).is_file()


@pytest.mark.parametrize("code", CODES)
def test_every_page_has_an_example(code: str) -> None:
    assert bool(list((FOLDER / code).glob("bad*"))) is (code not in WITHOUT_AN_EXAMPLE)


def test_the_example_of_a_command_line_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(FOLDER / "second.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = (FOLDER / "BEV311" / "bad.sh").read_text(encoding="utf-8").splitlines()
    codes = [run(shlex.split(line.removeprefix("bevdiag "))) for line in lines]
    assert codes == [0, 1]
    assert "BEV311" in capsys.readouterr().out
