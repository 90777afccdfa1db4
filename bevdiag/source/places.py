"""Where in the user's repository something happens."""

import sys
from pathlib import Path
from types import FrameType

_roots: list[Path] = []


def set_root(*roots: Path) -> None:
    """From here on, places are told relative to this folder, or to another name for it."""
    _roots[:] = [root.resolve() for root in roots]


def user_place(frame: FrameType | None = None, otherwise: str = "") -> str:
    """`file:line` of the innermost frame inside the repository, or what is to be told otherwise."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        file = _relative(frame)
        if file is not None:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return otherwise or "the repository"


def relative_file(name: str) -> str | None:
    """A source file's path inside the repository, None for the code of others."""
    file = Path(name)
    found = (file.relative_to(root) for root in _roots if file.is_relative_to(root))
    return next(map(str, found), None)


def _relative(frame: FrameType) -> str | None:
    return relative_file(frame.f_code.co_filename)
