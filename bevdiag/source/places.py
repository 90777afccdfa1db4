"""Where in the user's repository something happens."""

import sys
from pathlib import Path
from types import FrameType, TracebackType

_roots: list[Path] = []


def set_root(root: Path) -> None:
    """From here on, places are told relative to this folder."""
    _roots[:] = [root.resolve()]


def user_place(frame: FrameType | None = None, otherwise: str = "") -> str:
    """`file:line` of the innermost frame inside the repository, or what is to be told otherwise."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        file = _relative(frame)
        if file is not None:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return otherwise or "the repository"


def failing_place(trace: TracebackType | None) -> str:
    """`file:line` of the innermost frame inside the repository that an error went through."""
    place = "the repository"
    while trace is not None:
        file = _relative(trace.tb_frame)
        if file is not None:
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _relative(frame: FrameType) -> Path | None:
    file = Path(frame.f_code.co_filename)
    return next((file.relative_to(root) for root in _roots if file.is_relative_to(root)), None)
