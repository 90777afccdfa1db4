import faulthandler
import os
import signal
import time
from pathlib import Path

import pytest

from bevdiag.children import announce
from bevdiag.errors import ExitCode, Location
from bevdiag.memory.verdict import Verdict
from bevdiag.policy import Setting
from bevdiag.prediction import preflight as preflight_module
from bevdiag.prediction.checked import Check, Job, worst, worst_last
from bevdiag.prediction.preflight import preflight
from bevdiag.prediction.result import ConfigReport


def job(small, config=None, ignore=(), **wanted):
    rules = {code: Setting("known", Location(Path("b.toml"), 1, 1)) for code in ignore}
    return Job(config=config or small.config, options=small.options(**wanted), ignore=rules)


def test_one_config_does_not_keep_the_others_from_their_verdicts(small, tmp_path):
    missing, broken = tmp_path / "missing.yaml", tmp_path / "broken.yaml"
    broken.write_text("MODEL: [", encoding="utf-8")
    seen = []
    checks = preflight(
        [job(small, missing), job(small, budget_bytes=2**40), job(small, broken)],
        lambda what, share: seen.append((what, share)),
    )
    assert [check.config for check in checks] == [str(missing), str(small.config), str(broken)]
    assert [check.exit_code for check in checks] == [2, 0, 2]
    assert checks[1].verdict is Verdict.FITS
    assert "broken.yaml" in checks[2].failure
    assert seen[-1] == ("configs: 3 of 3", 1.0)


def test_over_the_budget(small):
    (check,) = preflight([job(small, budget_bytes=2**20)], lambda *_: None)
    assert check.verdict is Verdict.OVER
    assert check.exit_code is ExitCode.FINDINGS


def test_the_policy_silences_a_rule_with_its_reason(small):
    (loud,) = preflight([job(small)], lambda *_: None)
    code = loud.report.findings[0].code
    (check,) = preflight([job(small, ignore=[code])], lambda *_: None)
    assert code not in {finding.code for finding in check.report.findings}
    assert {f.silenced.reason for f in check.report.silenced if f.silenced} == {"known"}


def test_a_defect_in_one_config_is_its_own_outcome(small, monkeypatch):
    def breaks(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(preflight_module, "inspect", breaks)
    (check,) = preflight([job(small)], lambda *_: None)
    assert check.exit_code is ExitCode.NO_VERDICT
    assert check.failure == "internal error: ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("codes", "expected"), [((), 0), ((0, 3), 3), ((3, 1, 0), 1), ((1, 2, 3), 2)]
)
def test_the_worst_code_speaks_for_all(codes, expected):
    assert worst(ExitCode(code) for code in codes) == expected


def test_what_matters_most_comes_last():
    checks = [
        Check(config=str(code), failure="x", failure_code=ExitCode(code)) for code in (2, 0, 1, 3)
    ]
    assert [check.config for check in worst_last(checks)] == ["0", "3", "1", "2"]


def test_a_config_with_faults_that_no_step_survives_fails(small):
    report = ConfigReport(config="a", findings=())
    assert Check(config="a", report=report).exit_code is ExitCode.FINDINGS
    assert Check(config="a", report=report).verdict is None


@pytest.mark.parametrize(
    ("number", "reported"),
    [(signal.SIGSEGV, "died of SIGSEGV"), (signal.SIGKILL, "died of SIGKILL")],
)
def test_a_config_that_kills_its_process_is_one_without_a_verdict(
    small, tmp_path, monkeypatch, number, reported
):
    deadly = tmp_path / "deadly.yaml"

    def dies(config, *_):
        if config == deadly:
            faulthandler.disable()  # pytest's would print where
            announce("in backbone_3d.conv1")
            os.kill(os.getpid(), number)
        return ConfigReport(config=str(config), findings=())

    monkeypatch.setattr(preflight_module, "inspect", dies)
    dead, well = preflight([job(small, deadly), job(small)], lambda *_: None)
    assert dead.failure.startswith(f"the process that traced it {reported}")
    assert dead.failure.endswith("in backbone_3d.conv1")
    assert dead.exit_code is ExitCode.NO_VERDICT
    assert well.failure == ""
    (alone,) = preflight([job(small, deadly)], lambda *_: None)
    assert alone.failure == dead.failure


def test_a_config_that_never_ends_is_stopped(small, monkeypatch):
    monkeypatch.setattr(preflight_module, "inspect", lambda *_: time.sleep(60))
    (check,) = preflight([job(small, timeout_seconds=0.5)], lambda *_: None)
    assert check.failure == (
        "the process that traced it was stopped after 0.5 s without an answer "
        "before the first module ran"
    )
    assert check.exit_code is ExitCode.NO_VERDICT
