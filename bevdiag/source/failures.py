"""What goes wrong in the repository's code, in one sentence and a few lines of its traceback."""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from bevdiag.children import last_words, whereabouts
from bevdiag.errors import BevdiagError, RepositoryError
from bevdiag.trace.places import relative_file, user_place

_LONGEST_MESSAGE = 300
_FRAMES = 4
_FINDINGS = 3


def as_failure(error: BaseException, findings: Sequence[str] = ()) -> RepositoryError:
    """Return an error of the repository's code: its type, message and place, and the way to it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if relative_file(f.filename)]
    shown = tuple(_shown(frame) for frame in frames[-_FRAMES:])
    place = shown[-1].partition(" ")[0] if shown else "the repository"
    message = " ".join(str(error).split())[:_LONGEST_MESSAGE]
    if not message and frames and frames[-1].line:
        message = f"at `{frames[-1].line}`"
    kind = type(error).__name__
    failure = RepositoryError(
        f"{place}: {kind}: {message or 'without a message'}{_before(findings)}"
    )
    failure.frames = shown
    failure.details = "".join(traceback.format_exception(error))
    return failure


def with_findings(error: BevdiagError, findings: Sequence[str]) -> BevdiagError:
    """Return the error, with what was found before it: a prediction would have listed that."""
    if findings:
        error.args = (f"{error}{_before(findings)}",)
    return error


def _before(findings: Sequence[str]) -> str:
    shown = "; ".join(findings[:_FINDINGS])
    more = len(findings) - _FINDINGS
    return (f"; before that, {shown}" if shown else "") + (f"; {more} more" if more > 0 else "")


def _shown(frame: traceback.FrameSummary) -> str:
    place = f"{relative_file(frame.filename)}:{frame.lineno}"
    return f"{place} in {frame.name}: {frame.line}" if frame.line else f"{place} in {frame.name}"


class _Leaves(SystemExit):
    """os._exit, which would end the process unseen."""


def watch_exits() -> None:
    """Have os._exit, called from the repository, raise like sys.exit."""
    plain = os._exit

    def leave(status: int) -> NoReturn:
        if user_place(sys._getframe(1), "-") == "-":
            plain(status)
        raise _Leaves(status)

    os._exit = leave


@contextmanager
def exits_reported() -> Iterator[None]:
    """Inside, `exit()` and its like become an error with the place of the call."""
    try:
        yield
    except SystemExit as leaving:
        failure = as_failure(leaving)
        place = failure.frames[-1].partition(" ")[0] if failure.frames else "the repository"
        raised = RepositoryError(
            f"{place}: the code ends the process with exit code {_status(leaving)} "
            f"{whereabouts()}{last_words()}"
        )
        raised.frames, raised.details = failure.frames, failure.details
        raise raised from leaving


def _status(leaving: SystemExit) -> Any:
    return 0 if leaving.code is None else leaving.code
