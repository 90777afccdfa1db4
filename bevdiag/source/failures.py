"""What goes wrong in the repository's code: its place, the reason and what the user can do."""

import ast
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from inspect import unwrap
from types import FrameType
from typing import Any, NoReturn

from bevdiag.children import exhausts_host, last_words, whereabouts
from bevdiag.errors import BevdiagError, NoVerdictError, RepositoryError
from bevdiag.trace.places import relative_file, user_place

_LONGEST_MESSAGE = 300
_FRAMES = 4
_FINDINGS = 3


class Remedy(str, Enum):
    """What the user can do, by the kind of failure."""

    PACKAGE = "install the package, or take it out of the training step"
    KERNEL = (
        "take it out of the training step, or put plain PyTorch in its place for the prediction"
    )
    DATA = "put the file there, and it is read as data"
    FILE = "put the file there, or give a batch of your own loader with --batch FILE"
    REFUSED = "take it out of what the step runs"
    LEAVES = "take the exit out of what the step runs, or see why it leaves there"
    ON_GPU = "make or move tensors with functions of torch and device='cuda'"
    CONSTANTS = "make the tensor with new_zeros of the features"
    VALUES = "give the step more time or memory on this machine, or a smaller batch or scene"
    LOSS = "return a dict with 'loss', alone or first in a tuple"
    CONFIG = "name it in the config"
    ENTRY = "give model and batch with --entry FILE.py:function"
    TRAINING = "leave --step eval out"
    STEP = (
        "if training itself gets past this line, give it what training does, with --batch FILE or "
        "--entry FILE.py:function"
    )


_BY_ERROR: tuple[tuple[type[BaseException], Remedy], ...] = (
    (ImportError, Remedy.PACKAGE),
    (FileNotFoundError, Remedy.FILE),
    (PermissionError, Remedy.REFUSED),
)


def stopped(reason: str, remedy: Remedy, place: str = "") -> NoVerdictError:
    """Return the error for what bevdiag cannot follow.

    Args:
        reason: what is met.
        remedy: what helps.
        place: where in the repository; the innermost line of it that runs, if it is not named.
    """
    return NoVerdictError(f"{place or user_place(sys._getframe(1))}: {reason}: {remedy.value}")


def place_of(function: Any) -> str:
    """Return `file:line` where a function of the repository is defined, or what it is."""
    code = getattr(unwrap(function), "__code__", None)
    if code is None:
        return f"a {type(function).__name__}"
    return f"{relative_file(code.co_filename) or code.co_filename}:{code.co_firstlineno}"


def failed(error: BaseException, findings: Sequence[str]) -> RepositoryError:
    """Return an error of the repository's code that ends the trace, with what helps."""
    remedy = next((it for kind, it in _BY_ERROR if isinstance(error, kind)), Remedy.STEP)
    failure = as_failure(error)
    failure.args = (f"{failure}: {remedy.value}{_before(findings)}",)
    return failure


def as_failure(error: BaseException) -> RepositoryError:
    """Return an error of the repository's code: its type, message and place, and the way to it."""
    frames = _frames_in_repository(error)
    shown = tuple(_shown(frame) for frame in frames[-_FRAMES:])
    place = shown[-1].partition(" ")[0] if shown else "the repository"
    message = " ".join(str(error).split())[:_LONGEST_MESSAGE]
    if not message and frames and frames[-1].line:
        message = f"at `{frames[-1].line}`{_compared(error, frames[-1].line)}"
    kind = type(error).__name__
    failure = RepositoryError(f"{place}: {kind}: {message or 'without a message'}")
    failure.frames = shown
    failure.details = "".join(traceback.format_exception(error))
    return failure


def _frames_in_repository(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the way to an error; to what it was raised for, where a registry raised it anew."""
    at: BaseException | None = error
    while at is not None:
        frames = [f for f in traceback.extract_tb(at.__traceback__) if relative_file(f.filename)]
        if frames:
            return frames
        at = at.__cause__ or at.__context__
    return []


def _compared(error: BaseException, line: str) -> str:
    """Name the numbers and texts that a failed assertion names."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    frame = next((f for f in reversed(frames) if relative_file(f.f_code.co_filename)), None)
    try:
        (statement,) = ast.parse(line).body
    except (SyntaxError, ValueError):
        return ""
    if frame is None or not isinstance(statement, ast.Assert):
        return ""
    named = [
        (ast.unparse(node), _held(node, frame))
        for node in ast.walk(statement.test)
        if isinstance(node, (ast.Attribute, ast.Name))
    ]
    said = [f"{name} is {value!r}" for name, value in named if isinstance(value, (int, float, str))]
    return f", where {', '.join(said)}" if said else ""


def _held(node: ast.expr, frame: FrameType) -> Any:
    """Return what a name or an attribute held when the frame was left; None without it."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        return getattr(_held(node.value, frame), "__dict__", {}).get(node.attr)
    return None


def _before(findings: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(findings))  # each scene's run finds the same again
    shown = "; ".join(distinct[:_FINDINGS])
    more = len(distinct) - _FINDINGS
    return (f"; before that, {shown}" if shown else "") + (f"; {more} more" if more > 0 else "")


def _shown(frame: traceback.FrameSummary) -> str:
    place = f"{relative_file(frame.filename)}:{frame.lineno}"
    return f"{place} in {frame.name}: {frame.line}" if frame.line else f"{place} in {frame.name}"


def watch_exits() -> None:
    """Have os._exit, which would end the process unseen, raise like sys.exit in the repository."""
    plain = os._exit

    def leave(status: int) -> NoReturn:
        if user_place(sys._getframe(1), "-") == "-":
            plain(status)
        raise SystemExit(status)

    os._exit = leave


@contextmanager
def exits_reported() -> Iterator[None]:
    """Inside, `exit()` and its like become an error with the place of the call."""
    try:
        yield
    except SystemExit as leaving:
        failure = as_failure(leaving)
        place = failure.frames[-1].partition(" ")[0] if failure.frames else "the repository"
        failure.args = (
            f"{place}: the code ends the process with exit code {leaving.code or 0} "
            f"{whereabouts()}{last_words()}: {Remedy.LEAVES.value}",
        )
        raise failure from leaving


@contextmanager
def failures_reported(findings: Sequence[str] = ()) -> Iterator[None]:
    """Inside, whatever ends the repository's code becomes an error that says where and what helps.

    Args:
        findings: what was found until then, which a prediction would have listed.
    """
    try:
        with exits_reported():
            yield
    except BevdiagError as error:
        if findings:
            error.args = (f"{error}{_before(findings)}",)
        raise
    except Exception as error:
        if exhausts_host(error):
            raise
        raise failed(error, findings) from error
