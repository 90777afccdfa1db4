import gc
import sys
import time
from io import StringIO

import pytest

from bevdiag.cli import progress
from bevdiag.cli.progress import importing_torch, progress_bar


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_sees_one_plain_line_a_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    with progress_bar() as report:
        for doing in ("training step", "remedies: one [/]", "remedies: two"):
            report(doing, 0.5)
    assert stderr.getvalue() == "[0 s] training step\n[0 s] remedies\n"


def test_a_pipe_hears_nothing_of_short_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 60.0)
    with progress_bar() as report:
        report("training step", 0.5)
    assert stderr.getvalue() == ""


def test_what_is_written_aside_stands_outside_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar() as report:
        report("tracing", 0.5)
        with report.aside():
            before = stderr.getvalue()
            stderr.write("verdict\n")
            time.sleep(0.2)
            assert stderr.getvalue() == f"{before}verdict\n"


def test_the_collector_rests_while_torch_is_imported() -> None:
    heard: list[str] = []
    frozen = gc.get_freeze_count()
    with importing_torch(lambda doing, _: heard.append(doing)):
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    assert heard == ["importing torch"]
    gc.unfreeze()


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
