from collections.abc import Callable

import pytest

from bevdiag.errors import NoVerdictError, RepositoryError
from bevdiag.source.failures import as_failure, with_findings
from bevdiag.trace.alternatives import TracedStep

Trace = Callable[..., TracedStep]


def _failure(name: str, trace_repo: Trace) -> RepositoryError:
    with pytest.raises(RepositoryError) as caught:
        trace_repo("one_stage.yaml", overrides=(f"MODEL.NAME={name}",))
    return caught.value


def test_an_exit_is_reported_with_its_place(trace_repo: Trace) -> None:
    failure = _failure("Leaving", trace_repo)
    assert "failing.py:" in str(failure)
    assert "ends the process with exit code 0" in str(failure)


def test_an_error_without_a_message_shows_its_line_and_the_way_there(trace_repo: Trace) -> None:
    failure = _failure("Asserting", trace_repo)
    assert "AssertionError: at `assert out.dim() == 7`" in str(failure)
    assert "features read last" not in str(failure)
    assert [frame.split(" ")[2].rstrip(":") for frame in failure.frames] == ["forward", "fail"]
    assert "Traceback (most recent call last)" in failure.details


def test_a_layer_that_is_fed_other_channels_is_told_by_whom(trace_repo: Trace) -> None:
    failure = _failure("Mismatching", trace_repo)
    assert "RuntimeError: " in str(failure)
    assert "same reduction dim" in str(failure)


def test_what_is_refused_is_told_with_its_place(trace_repo: Trace) -> None:
    failure = _failure("Starting", trace_repo)
    assert "PermissionError: pcdet/models/detectors/failing.py:" in str(failure)
    assert "would signal a process" in str(failure)


def test_what_was_written_before_the_step_failed_is_reported_too(trace_repo: Trace) -> None:
    failure = _failure("Dumping", trace_repo)
    assert "ends the process with exit code 1" in str(failure)
    assert "before that, " in str(failure)
    assert "dump.pkl, which was diverted" in str(failure)


def test_many_findings_are_counted() -> None:
    failure = str(with_findings(NoVerdictError("it stops"), ["a", "b", "c", "d", "e"]))
    assert failure == "it stops; before that, a; b; c; 2 more"


def test_a_message_is_one_line() -> None:
    assert str(as_failure(ValueError("two\n lines"))) == "the repository: ValueError: two lines"
    assert "KeyError: without a message" in str(as_failure(KeyError()))
