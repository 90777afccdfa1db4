"""`bevdiag rule`."""

import pytest

from bevdiag.cli.main import run
from bevdiag.rules.codes import CODES


def test_a_rule_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rule", "bev203"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("BEV203 height-flatten-blowup  error, certain\n")
    for part in (
        "What it means",
        "Why it happens",
        "How to fix",
        "Seen in",
        "https://github.com/",
    ):
        assert part in out
    assert max(map(len, out.splitlines())) <= 100


def test_all_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rule"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("BEV")] == list(CODES)


def test_an_unknown_rule_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rule", "height-flatten"]) == 2
    error = capsys.readouterr().err
    assert error == (
        "error: there is no rule 'height-flatten'; did you mean 'height-flatten-blowup'? Next: "
        "bevdiag rule --help\n"
    )
