"""Every rule on a config that has its fault, and on the same config without it."""

import pytest

from bevdiag.rules.codes import CODES, Stage

from .conftest import FOLDER, Pair, expected, found, places

NOT_FROM_A_CONFIG = ("BEV604", "BEV901")


def test_a_fault_is_found_at_the_key_to_blame(pair: Pair) -> None:
    findings = found(pair.bad, pair.code)
    assert places(findings) == (expected(pair.bad) or [(pair.code, 0, 0)])
    assert {finding.code for finding in findings} == {pair.code}
    assert all(f.location is None or f.location.file == pair.bad for f in findings)


def test_the_fixed_twin_has_no_finding(pair: Pair) -> None:
    assert found(pair.fixed, pair.code) == ()


@pytest.mark.parametrize("code", CODES)
def test_every_rule_has_a_pair(code: str) -> None:
    if CODES[code].stage in (Stage.SOURCE, Stage.ENVIRONMENT, Stage.BASELINE):
        pytest.skip("what it looks at is no config")
    if code in NOT_FROM_A_CONFIG:
        pytest.skip("no module that is built in shows it; tests/rules/test_rules.py does")
    bad = list((FOLDER / code).glob("bad*.*"))
    assert bad
    for path in bad:
        assert path.with_name(path.name.replace("bad", "fixed", 1)).is_file()
