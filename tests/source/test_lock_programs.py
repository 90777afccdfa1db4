import os
import subprocess
from collections.abc import Iterator

import pytest

from bevdiag.source.locks import divert_programs


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setattr(subprocess, "Popen", subprocess.Popen)
    monkeypatch.setattr(os, "system", os.system)
    reported: list[str] = []
    divert_programs(reported)
    return reported


def test_a_program_says_nothing_and_ends_well(findings: list[str]) -> None:
    assert subprocess.run(["false"], check=True).returncode == 0
    assert subprocess.check_output("false", shell=True) == b""
    assert subprocess.check_output(["echo", "x"], text=True) == ""
    assert subprocess.getoutput("echo x") == ""
    assert os.popen("echo x").read() == ""
    assert os.system("false") == 0
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait() == 0


def test_each_is_reported(findings: list[str]) -> None:
    subprocess.run(["git", "rev-parse", "HEAD"], stdout=subprocess.PIPE)
    (reported,) = findings
    assert "the program `git rev-parse HEAD` was not started" in reported
