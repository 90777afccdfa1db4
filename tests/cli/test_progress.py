import sys
import time
from io import StringIO

import pytest

from bevdiag.cli import progress
from bevdiag.cli.progress import progress_bar


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_sees_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    with progress_bar() as report:
        report("tracing", 0.5)
    assert stderr.getvalue() == ""


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress_bar() as report:
        report("tracing", 0.5)
    assert "tracing" not in stderr.getvalue()


def test_long_work_shows_what_is_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    with progress_bar() as report:
        report("tracing [/] step", 0.5)
        deadline = time.monotonic() + 5
        while "tracing" not in stderr.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "tracing [/] step" in stderr.getvalue()


def test_a_failure_passes_through_and_ends_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError, match="broken"), progress_bar():
        raise ValueError("broken")
