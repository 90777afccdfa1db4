from pathlib import Path

import pytest

from bevdiag.errors import ExitCode, Location
from bevdiag.policy import Setting
from bevdiag.prediction.checked import (
    Check,
    Checks,
    failed,
    without_ignored,
    worst,
    worst_last,
)
from bevdiag.prediction.result import ConfigReport
from bevdiag.rules.finding import Finding, Severity

ERROR = Finding(code="BEV104", severity=Severity.ERROR, message="another grid")
GROWN = Finding(code="BEV311", severity=Severity.ERROR, message="grown")


def _report(*findings: Finding) -> ConfigReport:
    return ConfigReport(config="a.yaml", findings=findings)


def test_what_is_broken_speaks_for_all_then_what_is_wrong_then_what_is_unknown() -> None:
    assert worst([ExitCode.FITS, ExitCode.NO_VERDICT]) is ExitCode.NO_VERDICT
    assert worst([ExitCode.FINDINGS, ExitCode.NO_VERDICT]) is ExitCode.FINDINGS
    assert worst([ExitCode.FINDINGS, ExitCode.USAGE, ExitCode.NO_VERDICT]) is ExitCode.USAGE
    assert worst([]) is ExitCode.FITS


def test_growth_makes_a_sound_config_fail_and_stands_first() -> None:
    check = Check(config="a.yaml", report=_report(), growth=(GROWN,))
    assert check.exit_code is ExitCode.FINDINGS
    both = Check(config="a.yaml", report=_report(ERROR), growth=(GROWN,))
    assert both.findings == (GROWN, ERROR)


def test_a_defect_of_one_config_leaves_the_others_their_answer() -> None:
    broken = failed(Path("b.yaml"), KeyError("x"))
    checks = Checks((broken, Check(config="a.yaml", report=_report(ERROR))))
    assert broken.failure == "internal error: KeyError: 'x'"
    assert checks.exit_code is ExitCode.FINDINGS
    assert worst_last(checks.checks)[-1].config == "a.yaml"
    with pytest.raises(MemoryError):
        failed(Path("b.yaml"), MemoryError())


def test_what_the_policy_silences_stays_listed_with_its_reason() -> None:
    rule = Setting("it is wanted", Location(Path("bevdiag.toml"), 2, 1))
    report = without_ignored(_report(ERROR, GROWN), {"BEV104": rule})
    assert report.findings == (GROWN,)
    (silenced,) = report.silenced
    assert silenced.silenced is not None
    assert silenced.silenced.reason == "it is wanted"
